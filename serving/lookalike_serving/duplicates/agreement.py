"""Whether two pictures agree, pixel by pixel, where one is said to lie in the other.

Keypoints and hashes also match in two photographs of one thing: neighbours in a burst, two frames
of a film, one product in two colours. What tells them from a copy is that a copy has no pixel of
its own. Laid upon each other, every block with texture correlates, at the same place and in the
same hue, but for what was pasted over it. In another photograph things have moved, each by another
distance: after the whole is laid as well as it can be, blocks are still off by parts of a pixel.
Blocks without texture, such as a sky, have no place that could be measured, but they have a hue:
one that is as bright in both pictures and has another hue was painted, because a thing that is
pasted over it seldom has its brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookalike_serving.duplicates.geometry import Homography, area, mapped, overlap
from lookalike_serving.duplicates.hashes import Pixels

Values = NDArray[np.float32]

_CANVAS = 256
"""The longer side, pixels, on which both are compared."""
_LEAST_CANVAS = 40
_BLOCK = 16
_CORRELATES = 0.75
_INVERSE = -0.6
_TEXTURE = 4.0
"""Standard deviation of brightness (0 to 255) of a block that can agree or not."""
_PASTED = 14.0
"""The same of a block that has something in it, while the other picture has nothing there."""
_CLIPPED = (6.0, 249.0)
_SAME_BRIGHTNESS = 26.0
"""Most difference of a pixel's brightness, once the whole picture's is the same."""
_ALIKE = 0.9
"""Correlation from which a block shows the same thing, with nothing of what covers its neighbour:
such a one has the same hue in a copy."""
_BRIGHTEST = 235.0
"""Of a channel: from here on it is cut off when a picture is made brighter, and hues change."""
_PALE = 60.0
"""Least of the darkest channel for that. The hue of a vivid colour hardly changes then: its other
channels are still far from their end."""
_LEAST_PAINTED = 0.1
"""Part of a block's pixels that are not white. White has no hue, and only dilutes the others'."""
_COLOURED = 20.0
"""Chroma (distance from grey in the Cb-Cr plane) of a block that has a hue."""
_GREY = 6.0
_ANOTHER_HUE = 35.0
"""Degrees."""
_CORNER = 0.002
"""Least change in every direction that a block needs for its place to be measured (the smaller
eigenvalue of its structure tensor, contrast 1)."""
_ROUNDS = 2
"""Times that the whole is laid once more. The first finds what the keypoints' positions leave."""


@dataclass(frozen=True, slots=True)
class Agreement:
    homography: Homography
    """As it was given, and then laid to a part of a pixel."""
    blocks: int
    """With texture, within the region."""
    share: float
    """Of them that correlate."""
    inverted: float
    """Of them that correlate inversely: dark is bright, as in a pattern of other colours."""
    pixels: float
    """Part of the region's pixels with the same brightness."""
    shift: float
    """How far blocks that correlate lie from their places, pixels of the canvas: the median."""
    hues: float
    """Part of the coloured blocks that have another hue, of those that correlate or are plain and
    equally bright; 0 if there are few."""
    grey: bool
    """The query has no colour where the document has."""
    uncoloured: bool
    """One of them has no colour where the other has."""
    brightness: float
    """Mean of the query's brightness less that of the document, -255 to 255."""


def agreement(query: Pixels, document: Pixels, homography: Homography) -> Agreement | None:
    """Compare views under a homography (query to document, in parts).

    None if they share too little to tell: too few pixels.
    """
    here, there = _Shrinking(query), _Shrinking(document)
    for _ in range(_ROUNDS):
        canvas = _Canvas.between(here, there, homography)
        if canvas is None:
            return None
        moved = canvas.laid_again()
        if moved is None:
            break
        homography = moved
    canvas = _Canvas.between(here, there, homography)
    return None if canvas is None else canvas.measured(homography)


class _Shrinking:
    """A picture, and the smaller one that was last made of it: canvases of one comparison need
    nearly the same size."""

    def __init__(self, picture: Pixels) -> None:
        self.picture = picture
        self._smaller = picture
        self._scale = 1.0

    def at(self, scale: float) -> Pixels:
        """The picture as it is sampled at this scale: made smaller, if there would be fewer
        pixels."""
        if scale >= _AS_IT_IS:
            return self.picture
        if not 0.97 < scale / self._scale < 1.03:
            made = cv2.resize(self.picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            self._smaller, self._scale = np.asarray(made, np.uint8), scale
        return self._smaller


_AS_IT_IS = 0.8
"""From this scale on, a picture is sampled without being made smaller."""


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Both pictures drawn onto each other, at the coarser resolution of the two."""

    here: Pixels
    """The query."""
    there: Pixels
    """The document."""
    mask: NDArray[np.bool_]
    """Where both are."""
    to_query: Homography
    """From the canvas' pixels to parts of the query."""
    to_document: Homography

    @classmethod
    def between(
        cls, query: _Shrinking, document: _Shrinking, homography: Homography
    ) -> _Canvas | None:
        polygon = overlap(homography)
        if polygon is None:
            return None
        shown = mapped(homography, polygon)
        (left, top), (right, bottom) = shown.min(axis=0).clip(0, 1), shown.max(axis=0).clip(0, 1)
        high, wide = document.picture.shape[:2]
        pixels = np.array([(right - left) * wide, (bottom - top) * high])
        if not np.isfinite(pixels).all() or pixels.min() < 8:
            return None
        in_query = max(1e-9, area(polygon) * query.picture[..., 0].size)
        in_document = max(1e-9, area(shown) * wide * high)
        scale = min(1.0, (in_query / in_document) ** 0.5, _CANVAS / pixels.max())
        width, height = (int(each) for each in np.floor(pixels * scale))
        if min(width, height) < _LEAST_CANVAS:
            return None
        to_document = np.array(
            [[(right - left) / width, 0, left], [0, (bottom - top) / height, top], [0, 0, 1]]
        )
        to_query = np.linalg.inv(homography) @ to_document
        shrunk = scale * (in_document / in_query) ** 0.5
        there, inside_document = _drawn(document.at(scale), to_document, (width, height))
        here, inside_query = _drawn(query.at(shrunk), to_query, (width, height))
        return cls(here, there, inside_document & inside_query, to_query, to_document)

    def laid_again(self) -> Homography | None:
        """The homography, moved by what most blocks are off; None if it cannot be told."""
        blocks = _Blocks.of(self)
        rows, columns = np.nonzero(blocks.placed)
        if len(rows) < 6:
            return None
        places = (np.stack([columns, rows], axis=1) + 0.5) * _BLOCK
        off = np.stack([blocks.right[rows, columns], blocks.down[rows, columns]], axis=1)
        matrix, _ = cv2.estimateAffine2D(
            places.astype(np.float64),
            (places + off).astype(np.float64),
            method=cv2.RANSAC,
            ransacReprojThreshold=0.5,
            maxIters=200,
            refineIters=5,
        )
        if matrix is None or not np.isfinite(matrix).all():
            return None
        moved = np.vstack([matrix, [0, 0, 1]])
        if np.abs(moved[:2, :2] - np.eye(2)).max() > 0.1 or np.abs(moved[:2, 2]).max() > 20:
            return None
        # What is drawn at a place in the query belongs to the place moved in the document.
        try:
            homography = self.to_document @ moved @ np.linalg.inv(self.to_query)
        except np.linalg.LinAlgError:
            return None
        return np.asarray(homography / homography[2, 2])

    def measured(self, homography: Homography) -> Agreement:
        blocks = _Blocks.of(self)
        count = int(blocks.textured.sum())
        agreeing = blocks.textured & (blocks.correlation > _CORRELATES)
        off = np.hypot(blocks.right, blocks.down)[blocks.placed]
        apart = _apart(blocks.here, blocks.there, self.mask)
        alike = blocks.textured & (blocks.correlation > _ALIKE)
        if apart is not None:
            alike |= blocks.plain & (_blocks(apart).mean(axis=2) <= _SAME_BRIGHTNESS)
        hues, greys = _hues(self.here, self.there, alike)
        return Agreement(
            homography,
            count,
            float(agreeing.sum()) / max(1, count),
            float((blocks.textured & (blocks.correlation < _INVERSE)).sum()) / max(1, count),
            _same_brightness(apart, blocks.here, self.mask),
            float(np.median(off)) if len(off) >= 4 else 0.0,
            hues,
            greys == (True, False),
            greys[0] != greys[1],
            float((blocks.here - blocks.there)[self.mask].mean()) if self.mask.any() else 0.0,
        )


@dataclass(frozen=True, slots=True)
class _Blocks:
    """What is measured of each block of a canvas: (rows, columns) each."""

    here: Values
    """(h, w): smoothed brightness of the query."""
    there: Values
    whole: NDArray[np.bool_]
    """Both pictures cover the block."""
    textured: NDArray[np.bool_]
    plain: NDArray[np.bool_]
    """Without texture in both, and neither black nor white."""
    correlation: Values
    placed: NDArray[np.bool_]
    """Its place can be measured."""
    right: Values
    """How far to the right of its place in the document it would correlate best, pixels."""
    down: Values

    @classmethod
    def of(cls, canvas: _Canvas) -> _Blocks:
        here, there = (
            cv2.GaussianBlur(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), (0, 0), 1.0).astype(np.float32)
            for each in (canvas.here, canvas.there)
        )
        a, b = _blocks(here), _blocks(there)
        mean_a, spread_a, spread_b = a.mean(axis=2), a.std(axis=2), b.std(axis=2)
        whole = _blocks(canvas.mask.astype(np.float32)).min(axis=2) > 0
        clipped = (spread_a < _TEXTURE) & ((mean_a < _CLIPPED[0]) | (mean_a > _CLIPPED[1]))
        textured = whole & ~clipped & ((spread_b > _TEXTURE) | (spread_a > _PASTED))
        plain = whole & (spread_a <= _TEXTURE) & (spread_b <= _TEXTURE)
        for mean in (mean_a, b.mean(axis=2)):
            plain &= (mean >= _CLIPPED[0]) & (mean <= _CLIPPED[1])
        a = (a - mean_a[..., None]) / np.maximum(spread_a, 1e-3)[..., None]
        least = np.maximum(spread_b, 1e-3)[..., None]
        b = (b - b.mean(axis=2, keepdims=True)) / least
        correlation = (a * b).mean(axis=2)
        # One step of Lucas and Kanade (1981).
        dx, dy = (
            _blocks(cv2.Sobel(there, cv2.CV_32F, *order, ksize=3, scale=1 / 8)) / least
            for order in ((1, 0), (0, 1))
        )
        xx, yy, xy = (dx * dx).mean(axis=2), (dy * dy).mean(axis=2), (dx * dy).mean(axis=2)
        x, y = (dx * (a - b)).mean(axis=2), (dy * (a - b)).mean(axis=2)
        corner = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
        determinant = np.maximum(xx * yy - xy * xy, 1e-12)
        placed = textured & (correlation > 0.5) & (corner > _CORNER)
        return cls(
            here,
            there,
            whole,
            textured,
            plain,
            correlation,
            placed,
            (yy * x - xy * y) / determinant,
            (xx * y - xy * x) / determinant,
        )


def _drawn(
    picture: Pixels, matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[Pixels, NDArray[np.bool_]]:
    """A picture on the canvas, and where the canvas shows it."""
    height, width = picture.shape[:2]
    # Places are of corners, samples of the pixels' middles.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    in_pixels = np.linalg.inv(half) @ np.diag([width, height, 1.0]) @ matrix @ half
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpPerspective(
        picture, in_pixels, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    inside = cv2.warpPerspective(
        np.full((height, width), 255, np.uint8), in_pixels, size, flags=flags
    )
    return np.asarray(drawn, np.uint8), np.asarray(inside > 250)


def _blocks(values: Values) -> Values:
    """(h, w, …) as (rows, columns, pixels of a block, …)."""
    rows, columns = values.shape[0] // _BLOCK, values.shape[1] // _BLOCK
    cut = values[: rows * _BLOCK, : columns * _BLOCK]
    split = cut.reshape(rows, _BLOCK, columns, _BLOCK, *values.shape[2:]).swapaxes(1, 2)
    return split.reshape(rows, columns, _BLOCK * _BLOCK, *values.shape[2:])


def _apart(here: Values, there: Values, mask: NDArray[np.bool_]) -> Values | None:
    """(h, w): how far each pixel's brightness is from that of the document's, once contrast and
    brightness are the same; None if there are too few pixels to tell."""
    # Every third pixel: both are smoothed, so its neighbours say the same.
    a, b = here[mask][::3], there[mask][::3]
    usable = _unclipped(a)
    a, b = a[usable], b[usable]
    if len(a) < 22:
        return None
    kept = np.ones(len(a), bool)
    gain, mean_a, mean_b = 1.0, 0.0, 0.0
    for _ in range(4):
        mean_a, mean_b = float(a[kept].mean()), float(b[kept].mean())
        spread = float(((b[kept] - mean_b) ** 2).sum())
        gain = float(((a[kept] - mean_a) * (b[kept] - mean_b)).sum()) / max(spread, 1.0)
        gain = min(3.0, max(0.3, gain))
        apart = np.abs(a - mean_a - gain * (b - mean_b))
        kept = apart <= max(2.0, float(np.percentile(apart, 70)))
    return np.asarray(np.abs(here - mean_a - gain * (there - mean_b)), np.float32)


def _same_brightness(apart: Values | None, here: Values, mask: NDArray[np.bool_]) -> float:
    """Part of the pixels that are equally bright."""
    if apart is None:
        return 1.0
    return float((apart[mask & _unclipped(here)] <= _SAME_BRIGHTNESS).mean())


def _unclipped(brightness: Values) -> NDArray[np.bool_]:
    return np.asarray((brightness > _CLIPPED[0]) & (brightness < _CLIPPED[1]))


def _hues(here: Pixels, there: Pixels, alike: NDArray[np.bool_]) -> tuple[float, tuple[bool, bool]]:
    """(part of the coloured blocks that have another hue, whether query and document are grey)."""
    angles, chromas = [], []
    for picture in (here, there):
        colours, painted = _colours(picture)
        cut_off = (colours.max(axis=2) >= _BRIGHTEST) & (colours.min(axis=2) >= _PALE)
        alike = alike & painted & ~cut_off
        plane = cv2.cvtColor(colours / 255, cv2.COLOR_RGB2YCrCb)[:, :, 1:] * 255 - 127.5
        chromas.append(np.hypot(plane[..., 0], plane[..., 1]))
        angles.append(np.degrees(np.arctan2(plane[..., 1], plane[..., 0])))
    here_grey, there_grey = (bool(each[alike].max(initial=0.0) < _GREY) for each in chromas)
    greys = here_grey, there_grey
    if any(greys):
        return 0.0, greys
    coloured = [alike & (chroma > _COLOURED) for chroma in chromas]
    either = coloured[0] | coloured[1]
    if either.sum() < 3:
        return 0.0, greys
    apart = np.abs((angles[0] - angles[1] + 180) % 360 - 180)
    another = (coloured[0] & coloured[1] & (apart > _ANOTHER_HUE)) | (
        either & (np.minimum(chromas[0], chromas[1]) < _GREY)
    )
    # One block may be the edge of something else.
    return (float(another[either].mean()) if another[either].sum() > 1 else 0.0), greys


def _colours(picture: Pixels) -> tuple[Values, NDArray[np.bool_]]:
    """(each block's mean colour without its white pixels, whether the block has others)."""
    rows, columns = picture.shape[0] // _BLOCK, picture.shape[1] // _BLOCK
    cut = picture[: rows * _BLOCK, : columns * _BLOCK]
    counted = (cut.min(axis=2) < _BRIGHTEST).astype(np.float32)
    size = (columns, rows)
    # Each pixel of the smaller picture is the mean of a block.
    weight = cv2.resize(counted, size, interpolation=cv2.INTER_AREA)
    painted = cv2.resize(cut * counted[..., None], size, interpolation=cv2.INTER_AREA)
    means = painted / np.maximum(weight, 1 / _BLOCK**2)[..., None]
    return np.asarray(means, np.float32), np.asarray(weight >= _LEAST_PAINTED)
