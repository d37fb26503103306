"""MobileCLIP: its image tower is one of timm's, and its preprocessing normalises nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving.embed import load_embedder

MODEL = {
    "embed_dim": 32,
    "vision_cfg": {
        "timm_model_name": "fastvit_mci0",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": None,
        "timm_drop": 0.0,
        "timm_drop_path": 0.0,
        "image_size": 64,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 1,
        "no_causal_mask": True,
    },
    "custom_text": True,
}
PREPROCESSING = {"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the hub has it: a configuration and one file of weights."""
    folder = tmp_path_factory.mktemp("mobile-clip")
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = open_clip.model.CustomTextCLIP(
            **{key: MODEL[key] for key in ("embed_dim", "vision_cfg", "text_cfg")}  # type: ignore[arg-type]
        )
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def test_it_loads_from_a_folder_in_the_published_layout(
    published: Path, tmp_path: Path, photo: Any
) -> None:
    spec = ModelSpec(
        provider=Provider.OPEN_CLIP,
        name="mobile",
        weights=str(published),
        precision=Precision.FP32,
    )
    embedder = load_embedder(spec, tmp_path)
    assert (embedder.info.dimension, embedder.info.image_size) == (32, 64)
    pixels = embedder.preprocess(photo)
    again = load_embedder(spec, tmp_path)
    assert again.info.fingerprint == embedder.info.fingerprint
    np.testing.assert_allclose(
        again.embed_pixels([pixels]), embedder.embed_pixels([pixels]), atol=1e-6
    )
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{published}")
    del transform
    with torch.inference_mode():
        plain = torch.from_numpy(pixels)[None].float() / 255  # a mean of 0, a deviation of 1
        exact = model.eval().encode_image(plain, normalize=True).numpy()
    assert float((exact * embedder.embed_pixels([pixels])).sum()) > 0.9999
    assert embedder.embed_texts(["a red mug"]).shape == (1, 32)
