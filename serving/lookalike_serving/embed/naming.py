"""How models and weights are named, for loading them and for checking a resource.

It imports no model library, because `lookalike up` checks names before anything starts.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from lookalike_serving.embed.protocol import ModelError, WeightsNotFound

SUFFIXES = frozenset({".safetensors", ".pt", ".pth", ".bin", ".npz"})
"""The suffixes of weights files."""


def looks_like_a_path(said: str) -> bool:
    return "/" in said or "\\" in said or Path(said).suffix in SUFFIXES or Path(said).exists()


def close_to(name: str, known: Iterable[str]) -> list[str]:
    folded = {k.lower(): k for k in known}
    return [folded[m] for m in difflib.get_close_matches(name.lower(), folded, n=5, cutoff=0.5)]


def some(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "") if listed else "none known"


def check_file(name: str, file: Path) -> None:
    """Raises WeightsNotFound if there is no such file of weights, or this user cannot read it."""
    if not file.is_file():
        raise WeightsNotFound(f"weights of {name!r}: no file {file}; correct spec.model.weights")
    if not os.access(file, os.R_OK):
        raise WeightsNotFound(f"weights of {name!r}: {file} cannot be read by this user")


def local_place(said: str, reads: str) -> Path:
    """The file or folder that weights name. Raises ModelError if it is none of this machine.

    `reads`: what the provider reads, and how that gets here.
    """
    if not said or "://" in said or said.startswith("hf-hub:"):
        raise ModelError(f"spec.model.weights {said!r}: {reads}")
    return Path(said).expanduser().resolve()


def file_in(folder: Path, name: str) -> Path | None:
    """None if there is no such file."""
    return folder / name if (folder / name).is_file() else None
