"""What a sentence says of a product, and what a language has to offer to say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Said:
    """What a sentence says; None if it leaves it open. At least one part is named."""

    kind: str | None
    colour: str | None
    pattern: str | None


@dataclass(frozen=True, slots=True)
class Language:
    name: str
    """In English."""
    tag: str
    """BCP 47."""
    sentence: Callable[[Said, np.random.Generator], str]
    """A random sentence or search phrase, for training."""
    plain: Callable[[Said], str]
    """The usual words, inflected, without a random choice: for evaluation."""
    unseen: Callable[[Said, np.random.Generator], str]
    """A random sentence about all three parts, of a form that `sentence` never makes: for
    evaluation."""
    names: tuple[str, ...]
    """Every word that names a kind, colour or pattern, in every form that a sentence can hold. One
    with spaces is read as a whole."""
    fillers: tuple[str, ...]
    """Every other word of a sentence."""


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def joined(*parts: str) -> str:
    """With single spaces, and none for parts that are empty."""
    return " ".join(" ".join(parts).split())
