"""Where one picture lies in another, by their keypoints.

    keypoints of both -> pairs that look alike -> a homography that most of them follow (MAGSAC++)
                      -> whether that is a thing that people do to pictures

Time is bounded by the number of keypoints and of RANSAC's iterations, whatever the pictures are.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookalike_serving.duplicates.keypoints import Keypoints

Homography = NDArray[np.float64]
"""(3, 3): from places in the query to places in the document, in parts of width and height."""

_RATIO = 0.85
"""The nearest descriptor must be nearer than this part of the second nearest (Lowe's ratio)."""
_TOLERANCE = 4.0
"""Pixels of the view."""
_ITERATIONS = 2000
_LEAST_PAIRS = 6
_MAX_SCALE = 12.0
_MAX_STRETCH = 2.5
_MAX_PERSPECTIVE = 0.6


@dataclass(frozen=True, slots=True)
class Fit:
    """A homography that many keypoints follow."""

    homography: Homography
    mirrored: bool
    inliers: int
    inlier_ratio: float
    coverage: float
    """Part of the smaller picture's area that the inliers span."""


def fits(query: Keypoints, document: Keypoints, least: int = 0) -> list[Fit]:
    """The best fit of the query as it is, and of the query mirrored, most inliers first.

    `least`: inliers of a fit that matters; what cannot have so many is not looked for.
    """
    least = max(least, _LEAST_PAIRS)
    if min(len(query), len(document)) < least:
        return []
    similar = query.both_ways @ document.unit.T
    found = [
        _fit(query, document, pairs, mirrored)
        for mirrored, pairs in (
            (False, _pairs(similar[: len(query)])),
            (True, _pairs(similar[len(query) :])),
        )
        if len(pairs) >= least
    ]
    return sorted((each for each in found if each is not None), key=lambda fit: -fit.inliers)


def _fit(
    query: Keypoints, document: Keypoints, pairs: NDArray[np.intp], mirrored: bool
) -> Fit | None:
    source = query.places[pairs[:, 0]].astype(np.float64)
    target = document.places[pairs[:, 1]].astype(np.float64)
    if mirrored:  # a homography that mirrors is found as one that does not, of the mirrored query
        source[:, 0] = query.width - source[:, 0]
    matrix, mask = cv2.findHomography(
        source, target, cv2.USAC_MAGSAC, _TOLERANCE, maxIters=_ITERATIONS, confidence=0.999
    )
    if matrix is None or mask is None or not np.isfinite(matrix).all():
        return None
    kept = mask.ravel().astype(bool)
    if kept.sum() < _LEAST_PAIRS or not sane(matrix, (query.width, query.height)):
        return None
    coverage = max(
        _spanned(source[kept]) / (query.width * query.height),
        _spanned(target[kept]) / (document.width * document.height),
    )
    if mirrored:
        matrix = matrix @ np.array([[-1.0, 0, query.width], [0, 1, 0], [0, 0, 1]])
    size = np.diag([query.width, query.height, 1.0])
    into = np.diag([1 / document.width, 1 / document.height, 1.0])
    homography = into @ matrix @ size
    # Several keypoints at one place are one witness.
    places = len(np.unique(np.round(source[kept] / 2), axis=0))
    return Fit(
        homography / homography[2, 2],
        mirrored,
        places,
        float(kept.sum()) / len(pairs),
        min(1.0, coverage),
    )


def _pairs(similar: NDArray[np.float32]) -> NDArray[np.intp]:
    """(k, 2): query and document keypoints that are each other's nearest, and clearly so.

    `similar`: (n, m) cosines of descriptors.
    """
    rows = np.arange(len(similar))
    best = similar.argmax(axis=1)
    (mutual,) = np.nonzero(similar.argmax(axis=0)[best] == rows)
    best = best[mutual]
    others = similar[mutual]
    first = others[np.arange(len(mutual)), best]
    others[np.arange(len(mutual)), best] = -1.0
    second = others.max(axis=1)
    # Distances of unit vectors from their cosines.
    clear = (2 - 2 * first) < _RATIO**2 * (2 - 2 * second)
    return np.stack([mutual[clear], best[clear]], axis=1)


def sane(matrix: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether a homography, in pixels, could be an edit: it keeps the picture's orientation, no
    part of it goes to infinity, and it neither squeezes nor enlarges beyond what can be seen."""
    width, height = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], float)
    mapped = corners @ matrix.T
    depth = mapped[:, 2]
    if not np.isfinite(mapped).all() or (depth <= 0).any() == (depth >= 0).any():
        return False
    if np.abs(depth).min() < _MAX_PERSPECTIVE * np.abs(depth).max() * 0.5:
        return False
    quad = mapped[:, :2] / mapped[:, 2:]
    sides = np.roll(quad, -1, axis=0) - quad
    turns = sides[:, 0] * np.roll(sides[:, 1], -1) - sides[:, 1] * np.roll(sides[:, 0], -1)
    if not (turns > 0).all():  # mirrored, or no convex quadrangle
        return False
    lengths = np.linalg.norm(sides, axis=1)
    across = (lengths[0] + lengths[2]) / 2 / width
    down = (lengths[1] + lengths[3]) / 2 / height
    if not 1 / _MAX_SCALE <= min(across, down) <= max(across, down) <= _MAX_SCALE:
        return False
    return bool(max(across, down) <= _MAX_STRETCH * min(across, down))


def _spanned(places: NDArray[np.float64]) -> float:
    """Area of the convex hull, square pixels."""
    return float(cv2.contourArea(cv2.convexHull(places.astype(np.float32))))


def mapped(homography: Homography, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) places through a homography."""
    ones = np.ones((len(places), 1))
    through = np.hstack([places, ones]) @ homography.T
    return np.asarray(through[:, :2] / through[:, 2:])


def inverse(homography: Homography) -> Homography:
    """From places in the document to places in the query. Raises LinAlgError."""
    return np.asarray(np.linalg.inv(homography), np.float64)


def overlap(homography: Homography) -> NDArray[np.float64] | None:
    """(k, 2): the polygon of the query, in its own parts, that shows a part of the document."""
    polygon = mapped(inverse(homography), _UNIT)
    for axis, sign, bound in ((0, 1, 0.0), (0, -1, 1.0), (1, 1, 0.0), (1, -1, 1.0)):
        polygon = _clipped(polygon, sign * (polygon[:, axis] - bound))
        if len(polygon) < 3:
            return None
    return polygon if area(polygon) > 1e-6 else None


_UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)


def _clipped(polygon: NDArray[np.float64], inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of a convex polygon where `inside` of its corners, linear between them, is not
    negative (Sutherland and Hodgman)."""
    kept = []
    for here, there, a, b in zip(
        polygon, np.roll(polygon, -1, axis=0), inside, np.roll(inside, -1), strict=True
    ):
        if a >= 0:
            kept.append(here)
        if (a > 0 > b) or (a < 0 < b):
            kept.append(here + (there - here) * (a / (a - b)))
    return np.array(kept).reshape(-1, 2)


def area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
