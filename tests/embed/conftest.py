"""Small real models: open_clip architectures of a few thousand weights, saved as files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving.embed import Embedder, load_embedder

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))  # its photographs

TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}


@pytest.fixture(scope="session")
def architectures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Registers tiny architectures with open_clip: causal ones, and one that is not."""
    variants: dict[str, dict[str, Any]] = {
        "tiny": {},
        "tiny-quickgelu": {"quick_gelu": True},
        "tiny-custom": {"custom_text": True},
        "tiny-eos": {"custom_text": True, "text_cfg": {"pool_type": "eos", "eos_id": 49407}},
        "tiny-both-ways": {
            "custom_text": True,
            "text_cfg": {"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
        },
        "tiny-coca": {
            "custom_text": True,
            "text_cfg": {"embed_cls": True, "output_tokens": True},
            "vision_cfg": {"attentional_pool": True, "output_tokens": True},
            "multimodal_cfg": {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2},
        },
    }
    folder = tmp_path_factory.mktemp("architectures")
    for name, changes in variants.items():
        config = deepcopy(TINY)
        for key, value in changes.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        if "multimodal_cfg" in config:
            config["multimodal_cfg"]["layers"] = 1
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)
    open_clip.factory._rescan_model_configs()


def build(name: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = open_clip.create_model(name).eval()
        with torch.no_grad():  # biases start at zero, which would hide where they are missing
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter) * 0.05
    return model


@pytest.fixture(scope="session")
def tiny_weights(architectures: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(build("tiny").state_dict(), file)
    return file


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(**{"provider": Provider.OPEN_CLIP, "precision": Precision.FP32, **fields})


@pytest.fixture(scope="session")
def tiny(tiny_weights: Path, cache_dir: Path) -> Embedder:
    return load_embedder(spec(name="tiny", weights=str(tiny_weights)), cache_dir)


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """(480, 640, 3): smooth shapes with some fine texture, as photographs have."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:480, 0:640]
    waves = [np.sin(x / a + y / b) for a, b in ((90, 140), (40, -70), (15, 23))]
    picture = np.stack(waves, -1) * 80 + 128 + rng.normal(0, 6, (480, 640, 3))
    return picture.clip(0, 255).astype(np.uint8)
