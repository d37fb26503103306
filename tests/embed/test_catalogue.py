"""What `lookalike models` says of models agrees with the libraries that load them."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import timm
import torch

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.catalogue import CATALOGUE, Known
from lookalike_serving.embed.registry import check_model

OPEN_CLIP = [each for each in CATALOGUE if each.provider == "OpenClip"]
TIMM = [each for each in CATALOGUE if each.provider == "Timm"]


def named(known: Known) -> str:
    return f"{known.provider} {known.name}"


@pytest.mark.parametrize("known", CATALOGUE, ids=named)
def test_a_resource_may_name_it(
    known: Known, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if known.source.startswith("download https://"):
        (tmp_path / known.source.rpartition("/")[2]).touch()
    check_model(ModelSpec(provider=known.provider, name=known.name, weights=known.weights))


@pytest.mark.parametrize("known", OPEN_CLIP, ids=named)
def test_open_clip_builds_it_so(known: Known) -> None:
    config = open_clip.get_model_config(known.name)
    assert config["embed_dim"] == known.dimension
    assert config["vision_cfg"]["image_size"] == known.image_size
    hub = open_clip.get_pretrained_cfg(known.name, known.weights)["hf_hub"].rstrip("/")
    assert known.source == f"the Hugging Face hub, {hub}"


@pytest.mark.parametrize("known", TIMM, ids=named)
def test_timm_builds_it_so(known: Known) -> None:
    assert known.name is not None
    with torch.device("meta"):
        model = timm.create_model(known.name, num_classes=0)
    assert model.num_features == known.dimension
    assert model.pretrained_cfg["input_size"][1] == known.image_size
    count = sum(each.numel() for each in model.parameters()) / 1e6
    assert count == pytest.approx(known.parameters, abs=0.05)
    assert model.pretrained_cfg["license"] == known.licence.lower()


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16"])
def test_the_parameters_are_counted(name: str) -> None:
    (known,) = [each for each in OPEN_CLIP if each.name == name]
    model = open_clip.create_model(name, pretrained_text=False, device="meta")
    count = sum(each.numel() for each in model.parameters()) / 1e6
    assert count == pytest.approx(known.parameters, abs=0.05)


def test_a_published_figure_has_its_source() -> None:
    for known in CATALOGUE:
        assert (known.zero_shot is None) == (known.zero_shot_source is None), known
