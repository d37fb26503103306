"""What is said of two pictures: the verdict, and the evidence for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
"""Top left, top right, bottom right, bottom left of a region, as (x, y) in parts of the picture's
width and height: (0, 0) is its top left corner, (1, 1) its bottom right one. They hold for every
size in which the picture is shown."""

WHOLE: Corners = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


class Verdict(StrEnum):
    EXACT = "exact"
    """The same pixels."""
    COPY = "copy"
    """The same picture, edited."""
    SIMILAR = "similar"
    """Another picture that looks alike."""

    @property
    def rank(self) -> int:
        """2 for the strongest."""
        return 2 - list(Verdict).index(self)


class Sensitivity(StrEnum):
    """How much evidence a copy needs."""

    STRICT = "strict"
    BALANCED = "balanced"
    LOOSE = "loose"


class Difference(StrEnum):
    """Why pixels at the same place are no copy."""

    HUE = "hue"
    """A part has other colours, as the same product in another colour has."""
    PLACE = "place"
    """Parts have moved, as in the next picture of a burst."""
    BRIGHTNESS = "brightness"
    """Too many pixels are brighter or darker than the whole."""
    PATTERN = "pattern"
    """Too few of the blocks agree: too much is covered by something, or is another thing."""
    TEXTURE = "texture"
    """There is too little that could be compared."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where the pictures show the same: the corners in one are the corners in the other."""

    query: Corners
    document: Corners


@dataclass(frozen=True, slots=True)
class Transform:
    """How the query was made of the document, as far as it can be told."""

    edits: tuple[str, ...]
    """Of: crop, embed, scale, stretch, mirror, rotate, perspective, grey, recolour, cover."""
    crop: float
    """Part of the document's area that the query shows."""
    cover: float
    """Part of the query's area that the document covers; less if it has a frame or was pasted."""
    scale: float
    """Size of the query's pixels of the document, beside the document's own: 0.5 is half."""
    rotation: float
    """Degrees, clockwise, -180 to 180; after mirroring."""
    mirror: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured. None: it was not, since nothing more was needed, or nothing was there."""

    content_hash: bool
    """Whether the pixels are the same."""
    pdq: int | None = None
    """The smallest Hamming distance of the PDQ hashes, of 256 bits; 31 and less mean the same
    picture to PDQ's authors."""
    phash: int | None = None
    """The smallest Hamming distance of the pHashes, of 64 bits."""
    cosine: float | None = None
    """Similarity of the embeddings."""
    inliers: int | None = None
    """Keypoints of both pictures that one transform maps onto each other."""
    inlier_ratio: float | None = None
    """Their part of all keypoints that look alike."""
    coverage: float | None = None
    """Part of the smaller picture's area that those keypoints span."""
    agreement: float | None = None
    """Part of the blocks with texture, within the region, whose pixels agree."""
    differs: tuple[Difference, ...] | None = None
    """What speaks against a copy, at the place where the pictures agree best; of a pair that was
    laid upon each other and is no copy."""
    region: Region | None = None
    transform: Transform | None = None

    def as_json(self) -> dict[str, Any]:
        """Without what was not measured; numbers as short as they mean something."""
        return {key: _short(value) for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Comparison:
    verdict: Verdict | None
    """None: another picture."""
    confidence: float
    """0 to 1: orders matches of one verdict; it is not a probability."""
    evidence: Evidence = field(default_factory=lambda: Evidence(content_hash=False))

    @property
    def exact(self) -> bool:
        return self.verdict is Verdict.EXACT

    @property
    def order(self) -> tuple[int, float]:
        """The larger, the stronger."""
        return (-1 if self.verdict is None else self.verdict.rank, self.confidence)


def _short(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return [_short(each) for each in value]
