"""Networks are read from files without being filled at random first, and are the same networks."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tests.embed.conftest import TINY, build
from torch import nn
from torch.overrides import TorchFunctionMode

from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving.embed import ModelError, load_embedder
from lookalike_serving.embed.unfilled import read_from_file


def spec(provider: Provider, name: str, file: Path) -> ModelSpec:
    return ModelSpec(provider=provider, name=name, weights=str(file), precision=Precision.FP32)


SIGLIP: dict[str, Any] = {
    "embed_dim": 64,
    "init_logit_bias": -10,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit",
        "timm_pool": "",
        "timm_proj": "linear",
    },
    "text_cfg": {**TINY["text_cfg"], "no_causal_mask": True, "pool_type": "last"},
}
"""A tower of timm's, and a text tower that sees the whole text."""


def values(network: nn.Module) -> dict[str, torch.Tensor]:
    """All of its tensors, those that are never saved included."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def check_same(ours: nn.Module, ordinary: nn.Module) -> None:
    found, expected = values(ours), values(ordinary)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_network_of_siglips_shape_is_the_one_that_was_saved(tmp_path):
    ordinary = open_clip.CustomTextCLIP(**deepcopy(SIGLIP))
    save_file(ordinary.state_dict(), file := tmp_path / "siglip.safetensors")

    def construct() -> nn.Module:
        network = open_clip.CustomTextCLIP(**deepcopy(SIGLIP))
        open_clip.load_checkpoint(network, str(file))
        return network

    check_same(read_from_file(construct), ordinary)


@pytest.mark.parametrize("name", ["tiny", "tiny-custom", "tiny-both-ways", "tiny-coca"])
def test_an_open_clip_model_embeds_as_when_it_is_built_the_ordinary_way(
    name, architectures, cache_dir, tmp_path, photo
):
    ordinary = build(name)
    save_file(ordinary.state_dict(), file := tmp_path / "weights.safetensors")
    loaded = load_embedder(spec(Provider.OPEN_CLIP, name, file), cache_dir)
    pixels = loaded.preprocess(photo)
    mean, std = (
        torch.tensor(each).view(3, 1, 1)
        for each in (loaded.preprocessing.mean, loaded.preprocessing.std)
    )
    image = (torch.from_numpy(pixels) / 255 - mean) / std
    tokens = open_clip.get_tokenizer(name)(["a red mug"])
    with torch.inference_mode():
        expected = [ordinary.encode_image(image[None]), ordinary.encode_text(tokens)]
    found = [loaded.embed_pixels([pixels]), loaded.embed_texts(["a red mug"])]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, nn.functional.normalize(theirs, dim=-1), atol=2e-6)


def test_a_timm_model_has_the_values_of_its_file(tmp_path):
    ordinary = timm.create_model("test_vit", num_classes=0)
    save_file(ordinary.state_dict(), file := tmp_path / "weights.safetensors")

    def construct() -> nn.Module:
        network = timm.create_model("test_vit", num_classes=0)
        network.load_state_dict(load_file(file))
        return network

    check_same(read_from_file(construct), ordinary)


def drawn(build: Callable[[], nn.Module]) -> bool:
    """Whether random numbers were drawn for it."""
    with torch.random.fork_rng():
        before = torch.get_rng_state()
        build()
        return not torch.equal(before, torch.get_rng_state())


def linear(read: Callable[[nn.Linear], Any]) -> Callable[[], nn.Linear]:
    def construct() -> nn.Linear:
        layer = nn.Linear(32, 16)
        read(layer)
        return layer

    return construct


def test_nothing_is_filled_at_random_that_the_file_replaces():
    state = {"weight": torch.ones(16, 32), "bias": torch.ones(16)}
    construct = linear(lambda each: each.load_state_dict(state))
    assert drawn(construct)
    assert not drawn(lambda: read_from_file(construct))
    assert torch.equal(read_from_file(construct).weight, state["weight"])


@pytest.mark.parametrize("name", ["tiny", "tiny-custom", "tiny-both-ways"])
def test_hardly_anything_of_a_model_is_filled_at_random(name, architectures, tmp_path):
    save_file(build(name).state_dict(), file := tmp_path / "weights.safetensors")
    numbers: list[int] = []

    class Counting(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            if getattr(func, "__name__", "") in ("normal_", "uniform_", "trunc_normal_"):
                numbers.append(made.numel())
            return made

    def construct() -> nn.Module:
        return open_clip.create_model(name, pretrained=str(file), weights_only=True)

    with Counting():
        construct()
    ordinarily = sum(numbers)
    numbers.clear()
    with Counting():
        read_from_file(construct)
    assert sum(numbers) < ordinarily / 1000


def test_what_the_file_does_not_hold_has_the_values_that_a_new_network_has():
    state = {"bias": torch.ones(16)}
    construct = linear(lambda each: each.load_state_dict(state, strict=False))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = construct()
        torch.manual_seed(1)
        check_same(read_from_file(construct), expected)


def test_networks_that_are_built_later_are_filled_as_ever():
    with pytest.raises(RuntimeError, match="Missing key"):
        read_from_file(linear(lambda each: each.load_state_dict({})))
    assert drawn(lambda: nn.Linear(32, 16))


def test_a_file_that_lacks_a_parameter_is_refused(architectures, cache_dir, tmp_path):
    state = build("tiny").state_dict()
    del state["visual.proj"]
    save_file(state, file := tmp_path / "lacking.safetensors")
    with pytest.raises(ModelError, match=r"visual\.proj"):
        load_embedder(spec(Provider.OPEN_CLIP, "tiny", file), cache_dir)
