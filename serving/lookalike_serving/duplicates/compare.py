"""Two pictures -> a verdict with its evidence.

    the pixels are equal                                            -> exact
    keypoints, or else hashes, tell where one lies in the other,
    and the pixels there agree                                      -> copy
    the embeddings are near                                         -> similar
    else                                                            -> another picture

Every copy is thus confirmed by pixels, whoever proposed it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lookalike_serving.duplicates.agreement import Agreement, agreement
from lookalike_serving.duplicates.features import VIEW_SIDE, Features
from lookalike_serving.duplicates.geometry import (
    Fit,
    Homography,
    area,
    fits,
    inverse,
    mapped,
    overlap,
)
from lookalike_serving.duplicates.hashes import (
    HashedPicture,
    Hashes,
    HashMatch,
    Pixels,
    Variant,
    compare_hashes,
    scaled,
)
from lookalike_serving.duplicates.keypoints import MAX_ASKED, Keypoints, keypoints
from lookalike_serving.duplicates.thresholds import FEW_INLIERS, UNCOLOURED, UNCOVERED, Thresholds
from lookalike_serving.duplicates.verdicts import (
    WHOLE,
    Comparison,
    Corners,
    Difference,
    Evidence,
    Region,
    Transform,
    Verdict,
)

_SAME = 0.8
"""Part of the blocks that agree in what shows the same thing."""
_MOST_INVERTED = 0.1
_LEAST_BLOCKS = 6
"""With texture. Fewer do not show that two pictures are the same: a sky is like a sky."""


class StoredPicture:
    """The picture of a document whose hashes are known. Its keypoints are made when they are first
    needed, and kept."""

    def __init__(self, seen: Pixels | Features, hashes: Hashes, width: int, height: int) -> None:
        """`seen`: its features, or its pixels, upright, which are not kept: at full size, or scaled
        down to `VIEW_SIDE` or more. `width`, `height`: at full size."""
        self.hashes = hashes
        self.width, self.height = width, height
        self._seen = seen
        if not isinstance(seen, Features):
            self._seen = np.ascontiguousarray(scaled(seen, VIEW_SIDE))

    @classmethod
    def kept(
        cls, features: str | None, hashes: str | None, width: int, height: int
    ) -> StoredPicture | None:
        """By what is stored of a document, without its image; None if that cannot be used."""
        seen, known = Features.read(features), Hashes.read(hashes)
        return None if seen is None or known is None else StoredPicture(seen, known, width, height)

    @cached_property
    def view(self) -> Pixels:
        return self._seen.view() if isinstance(self._seen, Features) else self._seen

    @cached_property
    def keypoints(self) -> Keypoints:
        """As of a document."""
        if isinstance(self._seen, Features):
            return self._seen.keypoints()
        return keypoints(self.view)

    @property
    def asked(self) -> Keypoints:
        """As of a query."""
        return self.keypoints

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Its hashes as of a query, in all positions."""
        return HashedPicture(self.view).variants


class Picture(StoredPicture):
    """A picture that is asked about, or of which nothing is known yet."""

    def __init__(self, pixels: Pixels) -> None:
        """`pixels` upright, at full size; not kept."""
        self.hashed = HashedPicture(pixels)
        height, width = pixels.shape[:2]
        super().__init__(pixels, self.hashed.hashes, width, height)

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        return self.hashed.variants

    @cached_property
    def asked(self) -> Keypoints:
        """As of a query: more of them, since the document may be a small part of it."""
        return keypoints(self.view, MAX_ASKED)


@dataclass(frozen=True, slots=True)
class _Laid:
    """One picture found in the other, and what the pixels say."""

    homography: Homography
    agreement: Agreement
    fit: Fit | None
    """None if hashes proposed it."""


def compare(
    query: StoredPicture,
    document: StoredPicture,
    thresholds: Thresholds,
    *,
    cosine: float | None = None,
    similar_from: float | None = None,
) -> Comparison:
    """The verdict on two pictures. Once both have their keypoints, different pictures take about
    20 ms of processor time, and copies about 50.

    `cosine` of their embeddings, if known; from `similar_from` on they are `similar`.
    """
    if query.hashes.content == document.hashes.content:
        return exact(cosine)
    near = compare_hashes(query.variants, document.hashes)
    best: _Laid | None = None
    for laid in _laid(query, document, near, thresholds):
        if _in_another_colour(laid, thresholds):
            best = laid
            break  # wherever else they match, as a part without colour would
        if best is None or _better(laid, best):
            best = laid
        if not _differs(laid, thresholds):
            return Comparison(
                Verdict.COPY,
                _confidence(laid, near),
                _evidence(query, document, near, cosine, laid),
            )
    differs = () if best is None else _differs(best, thresholds)
    evidence = _evidence(query, document, near, cosine, best, differs)
    return _similar(cosine, similar_from, evidence)


def compare_stored(
    query: Picture,
    hashes: str | None,
    *,
    cosine: float | None = None,
    similar_from: float | None = None,
) -> Comparison:
    """What can be said of a document without its image: `exact` by its stored hashes, `similar` by
    its embedding. Never `copy`, which takes pixels."""
    stored = None if hashes is None else Hashes.read(hashes)
    if stored is not None and stored.content == query.hashes.content:
        return exact(cosine)
    near = None if stored is None else compare_hashes(query.variants, stored)
    evidence = Evidence(
        content_hash=False,
        pdq=None if near is None else near.pdq,
        phash=None if near is None else near.phash,
        cosine=cosine,
    )
    return _similar(cosine, similar_from, evidence)


def exact(cosine: float | None = None) -> Comparison:
    """The verdict on two pictures with the same pixels."""
    evidence = Evidence(
        content_hash=True, pdq=0, phash=0, cosine=cosine, region=Region(WHOLE, WHOLE)
    )
    return Comparison(Verdict.EXACT, 1.0, evidence)


def _similar(cosine: float | None, similar_from: float | None, evidence: Evidence) -> Comparison:
    if cosine is not None and similar_from is not None and cosine >= similar_from:
        return Comparison(Verdict.SIMILAR, max(0.0, min(1.0, cosine)), evidence)
    return Comparison(None, 0.0, evidence)


def _laid(
    query: StoredPicture, document: StoredPicture, near: HashMatch | None, thresholds: Thresholds
) -> Iterator[_Laid]:
    """Every way in which one picture may lie in the other: first what hashes propose, which takes
    no keypoints."""
    if near is not None and (near.pdq <= thresholds.pdq or near.phash <= thresholds.phash):
        told = agreement(query.view, document.view, proposed(near))
        if told is not None:
            yield _Laid(told.homography, told, None)
    for fit in fits(query.asked, document.keypoints, thresholds.inliers):
        if (
            fit.inliers >= thresholds.inliers
            and fit.inlier_ratio >= thresholds.inlier_ratio
            and fit.coverage >= thresholds.coverage
        ):
            told = agreement(query.view, document.view, fit.homography)
            if told is not None:
                yield _Laid(told.homography, told, fit)


def proposed(match: HashMatch) -> Homography:
    """Where the query lies in the document if the parts that were hashed are the same."""
    return (
        _onto(match.document_part) @ match.position.matrix @ np.linalg.inv(_onto(match.query_part))
    )


def _onto(part: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """From places in a part of a picture to places in the picture."""
    left, top, right, bottom = part
    return np.array([[right - left, 0, left], [0, bottom - top, top], [0, 0, 1]])


def _differs(laid: _Laid, thresholds: Thresholds) -> tuple[Difference, ...]:
    """What the pixels say against a copy; nothing of one."""
    told = laid.agreement
    few = laid.fit is not None and laid.fit.inliers < FEW_INLIERS
    agreeing = max(UNCOVERED, thresholds.agreement) if few else thresholds.agreement
    bright = max(UNCOLOURED, thresholds.pixels) if told.uncoloured else thresholds.pixels
    found = (
        (
            Difference.HUE,
            told.hues > thresholds.hues or _in_another_colour(laid, thresholds),
        ),
        (Difference.PLACE, told.shift > thresholds.shift),
        (Difference.BRIGHTNESS, told.pixels < bright),
        (Difference.PATTERN, told.share < agreeing),
        (Difference.TEXTURE, told.blocks < _LEAST_BLOCKS),
    )
    return tuple(difference for difference, there in found if there)


def _in_another_colour(laid: _Laid, thresholds: Thresholds) -> bool:
    """Whether the same is at the same place, but in other colours."""
    told = laid.agreement
    return told.blocks >= _LEAST_BLOCKS and (
        (told.share >= _SAME and told.hues > thresholds.hues) or told.inverted > _MOST_INVERTED
    )


def _better(a: _Laid, b: _Laid) -> bool:
    return a.agreement.share > b.agreement.share


def _confidence(laid: _Laid, near: HashMatch | None) -> float:
    """Agreement of the pixels, and how much there is of it."""
    witnesses = laid.agreement.blocks / 4 + (0 if laid.fit is None else laid.fit.inliers)
    if near is not None:
        witnesses += max(0, 64 - near.pdq)
    return round(laid.agreement.share * (1 - math.exp(-witnesses / 20)), 4)


def _evidence(
    query: StoredPicture,
    document: StoredPicture,
    near: HashMatch | None,
    cosine: float | None,
    laid: _Laid | None,
    differs: tuple[Difference, ...] = (),
) -> Evidence:
    fit = None if laid is None else laid.fit
    region = transform = None
    if laid is not None and not differs:
        region = region_of(laid.homography)
        transform = transform_of(laid, query, document)
    return Evidence(
        content_hash=False,
        pdq=None if near is None else near.pdq,
        phash=None if near is None else near.phash,
        cosine=cosine,
        inliers=None if fit is None else fit.inliers,
        inlier_ratio=None if fit is None else fit.inlier_ratio,
        coverage=None if fit is None else fit.coverage,
        agreement=None if laid is None else laid.agreement.share,
        differs=differs or None,
        region=region,
        transform=transform,
    )


def region_of(homography: Homography) -> Region | None:
    """The same region in both: upright in the picture that shows more of it than the other."""
    polygon = overlap(homography)
    if polygon is None:
        return None
    shown = mapped(homography, polygon)
    if area(polygon) >= area(shown):  # the query shows a part of the document
        corners = _box(polygon)
        return Region(_corners(corners), _corners(mapped(homography, corners)))
    corners = _box(shown)
    return Region(_corners(mapped(inverse(homography), corners)), _corners(corners))


def _box(polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _corners(places: NDArray[np.float64]) -> Corners:
    a, b, c, d = ((float(x), float(y)) for x, y in places.clip(0, 1))
    return a, b, c, d


def transform_of(laid: _Laid, query: StoredPicture, document: StoredPicture) -> Transform:
    """What was done to the document, read from the homography and from the colours."""
    homography, told = laid.homography, laid.agreement
    polygon = overlap(homography)
    shown = mapped(homography, polygon) if polygon is not None else None
    cover = 1.0 if polygon is None else min(1.0, area(polygon))
    crop = 1.0 if shown is None else min(1.0, area(shown))
    # From the document's pixels to the query's.
    into = (
        np.diag([query.width, query.height, 1.0])
        @ np.linalg.inv(homography)
        @ np.diag([1 / document.width, 1 / document.height, 1.0])
    )
    middle = np.array([document.width / 2, document.height / 2])
    jacobian = _jacobian(into, middle)
    mirror = bool(np.linalg.det(jacobian) < 0)
    if mirror:
        jacobian = np.diag([-1.0, 1.0]) @ jacobian
    left, sizes, right = np.linalg.svd(jacobian)
    turn = left @ right
    rotation = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
    scale = float(np.sqrt(sizes[0] * sizes[1]))
    corners = np.array([[0, 0], [document.width, 0], [0, document.height]], float)
    bent = max(
        abs(np.linalg.det(_jacobian(into, corner)) / np.linalg.det(_jacobian(into, middle)) - 1)
        for corner in corners
    )
    edits = (
        ("crop", crop < 0.97),
        ("embed", cover < 0.97),
        ("scale", not 0.97 < scale < 1.03),
        ("stretch", sizes[0] / max(sizes[1], 1e-9) > 1.05 and bent < 0.1),
        ("mirror", mirror),
        ("rotate", abs(rotation) > 1.5),
        ("perspective", bent >= 0.1),
        ("grey", told.grey),
        ("recolour", abs(told.brightness) > 12 and not told.grey),
        ("cover", told.share < 0.9),
    )
    return Transform(
        tuple(name for name, done in edits if done), crop, cover, scale, rotation, mirror
    )


def _jacobian(matrix: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y, w = matrix @ np.array([*place, 1.0])
    return np.array(
        [
            [(matrix[0, i] * w - x * matrix[2, i]) / w**2 for i in (0, 1)],
            [(matrix[1, i] * w - y * matrix[2, i]) / w**2 for i in (0, 1)],
        ]
    )
