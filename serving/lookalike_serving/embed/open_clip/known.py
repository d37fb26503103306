"""What open_clip knows by name, told without importing it, which takes seconds.

Its architectures are files of its package, and its pretrained tags a table in one of its modules.
So a misspelt name is reported before anything is started that takes time.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.naming import check_file, close_to, looks_like_a_path, some
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound

CONFIG = "open_clip_config.json"


def check_names(spec: ModelSpec) -> None:
    """Raises ModelError, or WeightsNotFound, for names and files that there are not."""
    name, said = spec.name, spec.weights
    if any(each and each.startswith("hf-hub:") for each in (name, said)):
        return
    if said and (Path(said) / CONFIG).is_file():
        return
    if said:
        refuse_folder(name, said)
    if not name or not said:
        return  # the resource's own rules say so
    known = architectures()
    if known and name not in known:
        near: Sequence[str] = close_to(name, known) or ["ViT-B-32", "ViT-L-14", "ViT-B-16-SigLIP"]
        raise ModelError(
            f"spec.model.name {name!r} is no open_clip architecture: did you mean {some(near)}?"
        )
    if looks_like_a_path(said):
        check_file(name, Path(said).expanduser().resolve())
        return
    tags = pretrained_tags()
    if tags and said.lower().replace("-", "_") not in tags.get(name, ()):
        near = close_to(said, tags.get(name, ())) or tags.get(name, ())
        raise WeightsNotFound(
            f"weights of {name!r}: {said!r} is neither a file nor a pretrained tag; known tags: "
            f"{some(near)}"
        )


def refuse_folder(name: str | None, said: str) -> None:
    """Raises WeightsNotFound for a folder that has no configuration of open_clip."""
    folder = Path(said).expanduser().resolve()
    if looks_like_a_path(said) and folder.is_dir() and not (folder / CONFIG).is_file():
        raise WeightsNotFound(
            f"weights of {name!r}: {folder} is a folder without {CONFIG}: add it, or name the "
            "weights file"
        )


@functools.cache
def architectures() -> frozenset[str]:
    """Names that open_clip builds; empty if it is not installed or keeps them elsewhere."""
    folder = _package()
    return (
        frozenset()
        if folder is None
        else frozenset(file.stem for file in (folder / "model_configs").glob("*.json"))
    )


@functools.cache
def pretrained_tags() -> Mapping[str, tuple[str, ...]]:
    """Tags by architecture; empty if open_clip is not installed or keeps them elsewhere.

    The module that has them is loaded under another package, so that open_clip's own, which needs
    torch, is not; what it imports for downloads it can do without.
    """
    folder = _package()
    if folder is None:
        return {}
    alone = ModuleType("open_clip_alone")
    alone.__path__ = [str(folder)]
    without = {"safetensors": None, "huggingface_hub": None}
    with patch.dict(sys.modules, {alone.__name__: alone, **without}):
        try:
            table = importlib.import_module(f"{alone.__name__}.pretrained")._PRETRAINED
            return {str(name): tuple(map(str, tags)) for name, tags in table.items()}
        except (ImportError, AttributeError):
            return {}


def _package() -> Path | None:
    found = find_spec("open_clip")
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) if places else None
