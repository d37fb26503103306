"""An OpenClip model as the folder in which open_clip publishes models.

open_clip_config.json    the architecture, and how pictures are prepared
open_clip_model.*        the weights
tokenizer.json …         of models that do not have open_clip's own tokenizer
config.json              of text towers of transformers
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.open_clip.known import CONFIG
from lookalike_serving.embed.open_clip.text_config import TOWER, text_configuration
from lookalike_serving.embed.open_clip.weights import FOLDER, Weights, locate
from lookalike_serving.embed.provider import ModelFiles
from lookalike_serving.embed.weights import TOKENIZER_FILES, Hub, unreachable

_NOT_PREPROCESSING = ("url", "hf_hub", "size", "quick_gelu")


def published(spec: ModelSpec, cache_dir: Path) -> ModelFiles:
    """Raises WeightsNotFound, ModelError."""
    weights = locate(spec, cache_dir)
    files: dict[str, Path | str]
    if weights.architecture.startswith(FOLDER):
        folder = Path(weights.architecture.removeprefix(FOLDER))
        files = {**_tokenizer_in(folder), weights.file.name: weights.file}
    else:
        config = open_clip.get_model_config(weights.architecture) or {}
        safe = weights.file.suffix == ".safetensors"
        files = {
            **_tokenizer(config, weights, cache_dir),
            "open_clip_model.safetensors" if safe else "open_clip_pytorch_model.bin": weights.file,
            CONFIG: json.dumps(_configuration(config, weights.tag), indent=2, sort_keys=True),
        }
    text = text_configuration(weights, cache_dir)
    if text is not None:
        files[TOWER] = Path(text["hf_model_name"]) / TOWER
    return ModelFiles(weights.name, files)


def _configuration(config: dict[str, Any], tag: dict[str, Any]) -> dict[str, Any]:
    model = dict(config)
    if tag.get("quick_gelu"):
        model["quick_gelu"] = True
    preparing = {key: said for key, said in tag.items() if key not in _NOT_PREPROCESSING}
    return {"model_cfg": model, "preprocess_cfg": preparing}


def _tokenizer(config: dict[str, Any], weights: Weights, cache_dir: Path) -> dict[str, Path]:
    name = config.get("text_cfg", {}).get("hf_tokenizer_name")
    if not name:
        return {}
    try:
        return _tokenizer_in(Hub(name, None, cache_dir).fetch_tokenizer())
    except Exception as error:
        raise unreachable(f"{weights.name} (its tokenizer)", cache_dir, error) from None


def _tokenizer_in(folder: Path) -> dict[str, Path]:
    """All of its small files: which of them a tokenizer reads, transformers alone knows."""
    found = (each for pattern in TOKENIZER_FILES for each in sorted(folder.glob(pattern)))
    return {each.name: each for each in found}
