"""Keypoints of a picture: places that can be found again in a copy, with what surrounds them.

SIFT (Lowe, 2004) with the square root of its descriptors (RootSIFT, Arandjelović and Zisserman,
2012). A descriptor of the mirrored picture is the same numbers in another order, so both ways are
compared with one extraction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from lookalike_serving.duplicates.hashes import Pixels, scaled

KEYPOINT_SIDE = 512
"""The longer side, pixels, of the picture in which keypoints are looked for."""
MAX_KEYPOINTS = 400
"""Of a document."""
MAX_ASKED = 800
"""Of a query: the document may be a small part of it."""
_GRID = 8
_CONTRAST = 0.006
"""Below OpenCV's 0.04, which finds nothing in fog; the clearest keypoints are taken in any case."""


@dataclass(frozen=True)
class Keypoints:
    """The clearest ones of every part of a picture."""

    places: NDArray[np.float32]
    """(n, 2): x, y in pixels of the picture of `KEYPOINT_SIDE`."""
    descriptors: NDArray[np.uint8]
    """(n, 128): RootSIFT, times 255."""
    width: int
    height: int
    """Of that picture."""

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """(n, 128): descriptors of length 1."""
        return _unit(self.descriptors)

    @cached_property
    def both_ways(self) -> NDArray[np.float32]:
        """(2 n, 128): the same of the picture, and then of the mirrored picture."""
        return np.concatenate([self.unit, self.unit[:, _mirror()]])


def keypoints(pixels: Pixels, most: int = MAX_KEYPOINTS, side: int = KEYPOINT_SIDE) -> Keypoints:
    """Of a picture, or of its view. About 70 ms of processor time."""
    view = scaled(pixels, side)
    height, width = view.shape[:2]
    # Evened out, so that there are keypoints in fog and in shadow, too.
    grey = cv2.createCLAHE(2.0, (8, 8)).apply(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY))
    sift = cv2.SIFT.create(contrastThreshold=_CONTRAST)
    chosen = spread(sift.detect(grey, None), width, height, most)
    if not chosen:
        nothing = np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8)
        return Keypoints(*nothing, width, height)
    found, raw = sift.compute(grey, chosen)
    # OpenCV counts from the middle of the first pixel.
    places = np.array([point.pt for point in found], np.float32) + np.float32(0.5)
    root = np.sqrt(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-6))
    return Keypoints(places, np.round(root * 255).clip(0, 255).astype(np.uint8), width, height)


def spread(found: Sequence[cv2.KeyPoint], width: int, height: int, most: int) -> list[cv2.KeyPoint]:
    """The clearest ones of every part of the picture, in turn: a line of text would take them all.

    Each cell of a grid gives its first, then each its second, and so on.
    """
    if not found:
        return []
    places = np.array([point.pt for point in found], np.float64)
    cells = np.floor(places / (width, height) * _GRID).clip(0, _GRID - 1).astype(int)
    cell = cells[:, 1] * _GRID + cells[:, 0]
    response = np.array([point.response for point in found])
    order = np.lexsort((-response, cell))
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    turn = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    chosen = order[np.lexsort((-response[order], turn))][:most]
    return [found[i] for i in chosen]


def _unit(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = descriptors.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-6), np.float32)


@cache
def _mirror() -> NDArray[np.intp]:
    """Where each of the 128 numbers goes when the picture is mirrored: SIFT turns every patch until
    its orientation lies along the columns of its 4 x 4 cells, so rows change places and angles
    change their sign."""
    cells = np.arange(128).reshape(4, 4, 8)
    return cells[::-1, :, (-np.arange(8)) % 8].ravel()
