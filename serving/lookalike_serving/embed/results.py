"""The result of embedding an item, its timings, and figures over many items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
"""(d,) float32, L2-normalised where the model's distance is cosine."""


@dataclass(frozen=True, slots=True)
class Timings:
    """The timings of one item in milliseconds. `model_ms` is that of its whole batch."""

    decode_ms: float = 0.0
    preprocess_ms: float = 0.0
    wait_ms: float = 0.0
    """Waiting for a free thread, and then for the model."""
    model_ms: float = 0.0
    batch: int = 1
    """The size of the batch in which this item went through the model."""
    cached: bool = False


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What decoding found out; width and height are those of the original, upright."""

    width: int
    height: int
    format: str | None
    warnings: tuple[str, ...] = ()
    exif: bytes = b""
    """The EXIF block, as `DecodedImage` has it."""


@dataclass(frozen=True, slots=True)
class Embedded:
    vector: Vector
    timings: Timings
    image: ImageFacts | None = None
    """None for texts."""


@dataclass(frozen=True, slots=True)
class KindStats:
    """The figures of one kind since the start; `waiting` is the current number."""

    waiting: int
    items: int
    failed: int
    batches: int
    model_seconds: float
    batch_sizes: dict[int, int]
    """Batch size -> how many batches had it."""


@dataclass(frozen=True, slots=True)
class Stats:
    images: KindStats
    texts: KindStats
    under_way: int
    """Items accepted and not yet answered, decoding included."""
    overloaded: int
    """Items refused since the start."""
    decode_seconds: float
    preprocess_seconds: float
    wait_seconds: float
    cache_hits: int
