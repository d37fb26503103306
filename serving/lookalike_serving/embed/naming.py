"""How models and weights are named, for who loads them and for who only checks what is said.

It imports the standard library alone: `lookalike up` checks names before anything starts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = frozenset({".safetensors", ".pt", ".pth", ".bin", ".npz"})
"""Of files of weights."""


def looks_like_a_path(said: str) -> bool:
    return "/" in said or "\\" in said or Path(said).suffix in SUFFIXES or Path(said).exists()


def close_to(name: str, known: Iterable[str]) -> list[str]:
    folded = {k.lower(): k for k in known}
    return [folded[m] for m in difflib.get_close_matches(name.lower(), folded, n=5, cutoff=0.5)]


def some(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "") if listed else "none known"
