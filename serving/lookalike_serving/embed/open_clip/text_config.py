"""The configuration of text towers that open_clip takes from transformers, such as XLM-R.

open_clip's own configuration only names such a tower (`hf_model_name`); how many layers it has and
how wide they are is in a `config.json` that open_clip asks the hub for each time it builds the
model. Here that file is looked for in the model's folder first, and what was fetched once is kept
in the cache folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip

from lookalike_serving.embed.open_clip.known import CONFIG
from lookalike_serving.embed.open_clip.weights import FOLDER, Weights
from lookalike_serving.embed.protocol import ModelError, WeightsUnreachable
from lookalike_serving.embed.provider import failed_import
from lookalike_serving.embed.weights import is_online, why_unreachable

TOWER = "config.json"


def text_configuration(weights: Weights, cache_dir: Path) -> dict[str, Any] | None:
    """`text_cfg` with a local place in `hf_model_name`; None if the tower is open_clip's own.

    Raises ImportError without transformers, WeightsUnreachable if the hub does not give the file.
    """
    folder = None
    if weights.architecture.startswith(FOLDER):
        folder = Path(weights.architecture.removeprefix(FOLDER))
    text = _said(weights, folder)
    tower = text.get("hf_model_name")
    if not isinstance(tower, str) or not tower:
        return None
    if folder is None or not _describes_a_tower(folder / TOWER):
        place = _fetched(tower, folder, cache_dir)
    else:
        place = folder
    # Its weights are in the model's own file, with all others.
    return {**text, "hf_model_name": str(place), "hf_model_pretrained": False}


def _said(weights: Weights, folder: Path | None) -> dict[str, Any]:
    if folder is None:
        config = open_clip.get_model_config(weights.architecture) or {}
        return dict(config.get("text_cfg", {}))
    try:
        return dict(json.loads((folder / CONFIG).read_text("utf-8"))["model_cfg"]["text_cfg"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / CONFIG} cannot be read ({type(error).__name__}: {error}): it must be the "
            "configuration of an open_clip model, with model_cfg.text_cfg"
        ) from None


def _describes_a_tower(file: Path) -> bool:
    try:
        return "model_type" in json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False


def _fetched(tower: str, folder: Path | None, cache_dir: Path) -> Path:
    """A folder with the tower's configuration, fetched from the hub at most once."""
    from transformers import AutoConfig

    kept = cache_dir / "text-towers" / tower.replace("/", "--")
    if _describes_a_tower(kept / TOWER):
        return kept
    try:
        config = AutoConfig.from_pretrained(
            tower, cache_dir=str(cache_dir), local_files_only=not is_online()
        )
    except Exception as error:
        if failed_import(error) is not None:
            raise
        remedy = f"put its {TOWER} into {folder}" if folder else "use a folder with the model"
        raise WeightsUnreachable(
            f"cannot fetch the configuration of the text tower {tower!r} "
            f"({why_unreachable(error)}): allow access to the hub, or {remedy}"
        ) from None
    config.save_pretrained(kept)
    return kept
