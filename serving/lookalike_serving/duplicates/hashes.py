"""Hashes of a picture: of its pixels, and of what it looks like.

The hash of the pixels is the same for two files that decode to the same pixels. PDQ and pHash stay
nearly the same when a picture is scaled, recompressed or recoloured, so that copies are near in
Hamming distance. Both are kept of the whole picture and of its middle (half of its area), which
finds crops; the hashes of the mirrored and turned picture follow from the same coefficients, so
nothing is kept for them.

PDQ: "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm" (Facebook, 2019),
256 bits: a Jarosz filter to 64 x 64, the 16 x 16 lowest frequencies of its DCT but the constant
ones, each bit whether a coefficient is above their median. Hashes equal those of the `pdqhash`
package, which has no wheels for Linux; pictures of more than 512 pixels are scaled down first, as
the paper has it. pHash: Zauner, "Implementation and
Benchmarking of Perceptual Image Hash Functions" (2010), 64 bits, as the `imagehash` package has it.

Frequencies give the eight positions of a picture for nothing: mirroring changes the sign of the odd
ones, turning transposes them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(h, w, 3) RGB."""
Bits = NDArray[np.uint64]
"""(4,) of a PDQ hash, (1,) of a pHash."""

HASH_SIDE = 512
"""The longer side, pixels, of what hashes are made from."""
FLAT = 40
"""PDQ's quality (0 to 100) below which a picture has too little in it for a hash to tell it from
others: a clear sky, a blank page. PDQ's authors discard hashes below 50."""
_MIDDLE = 0.5**0.5
_VERSION = 1
_PACKED = struct.Struct(">BB16s32s8s32s8s")


class Position(IntEnum):
    """The eight ways to lay a picture: what was done to the one that is compared."""

    UPRIGHT = 0
    MIRRORED = 1
    UPSIDE_DOWN = 2  # turned by 180 degrees
    FLIPPED = 3  # top to bottom
    TRANSPOSED = 4
    TURNED_RIGHT = 5  # by 90 degrees clockwise
    TURNED_LEFT = 6
    TRANSVERSED = 7

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3): from a place in the picture to its place in the one so laid, both in parts of
        width and height."""
        x, y, a, b = (1, 0, 0), (0, 1, 0), (-1, 0, 1), (0, -1, 1)
        rows = {
            Position.UPRIGHT: (x, y),
            Position.MIRRORED: (a, y),
            Position.UPSIDE_DOWN: (a, b),
            Position.FLIPPED: (x, b),
            Position.TRANSPOSED: (y, x),
            Position.TURNED_RIGHT: (b, x),
            Position.TURNED_LEFT: (y, a),
            Position.TRANSVERSED: (b, a),
        }[self]
        return np.array([*rows, (0, 0, 1)], np.float64)


@dataclass(frozen=True, slots=True)
class Hashes:
    """What a collection keeps of a document: 98 bytes, 132 characters as stored."""

    content: bytes
    """16 bytes: of the upright pixels at full size."""
    quality: int
    """PDQ's, of the whole picture: below `FLAT`, the perceptual hashes say nothing."""
    pdq: bytes
    """32 bytes."""
    phash: bytes
    """8 bytes."""
    middle_pdq: bytes
    middle_phash: bytes

    def stored(self) -> str:
        packed = _PACKED.pack(
            _VERSION,
            self.quality,
            self.content,
            self.pdq,
            self.phash,
            self.middle_pdq,
            self.middle_phash,
        )
        return base64.b64encode(packed).decode()

    @classmethod
    def read(cls, stored: object) -> Hashes | None:
        """None for what another version wrote: the document counts as one without hashes."""
        packed = _decoded(stored)
        if packed is None:
            return None
        _, quality, content, pdq, phash, middle_pdq, middle_phash = _PACKED.unpack(packed)
        return cls(content, quality, pdq, phash, middle_pdq, middle_phash)

    @property
    def flat(self) -> bool:
        return self.quality < FLAT


def row_of(stored: object) -> tuple[bytes, bool] | None:
    """What documents are joined by, of one of them, and whether it is flat: the hash of its
    content, PDQ, and PDQ of the middle, 80 bytes. It is `Hashes.read` for very many documents."""
    packed = _decoded(stored)
    if packed is None:
        return None
    # Content and PDQ follow each other; then come pHash (8 bytes) and PDQ of the middle.
    return packed[2:50] + packed[58:90], packed[1] < FLAT


def _decoded(stored: object) -> bytes | None:
    if not isinstance(stored, str):
        return None
    try:
        packed = binascii.a2b_base64(stored, strict_mode=True)
    except ValueError:
        return None
    return packed if len(packed) == _PACKED.size and packed[0] == _VERSION else None


@dataclass(frozen=True, slots=True)
class Variant:
    """Hashes of the query in one position, of all of it or of a part."""

    position: Position
    part: tuple[float, float, float, float]
    """Left, top, right, bottom, in parts of the picture: what was hashed."""
    pdq: Bits
    phash: Bits


@dataclass(frozen=True, slots=True)
class HashMatch:
    """The nearest pair of hashes of two pictures."""

    pdq: int
    phash: int
    position: Position
    query_part: tuple[float, float, float, float]
    document_part: tuple[float, float, float, float]


class HashedPicture:
    """A picture's frequencies, from which all its hashes follow. Immutable."""

    def __init__(self, pixels: Pixels) -> None:
        """`pixels` at full size. Some 10 ms for a megapixel, half of it for the hash of pixels."""
        self._content = content_hash(pixels)
        self._grey = _grey(scaled(pixels, HASH_SIDE))
        self._whole = _frequencies(self._grey)
        self._middle = _frequencies(_part(self._grey, MIDDLE))

    @cached_property
    def hashes(self) -> Hashes:
        pdq, phash, quality = self._whole
        middle_pdq, middle_phash, _ = self._middle
        return Hashes(
            self._content,
            quality,
            _pdq_bits(pdq).tobytes(),
            _phash_bits(phash).tobytes(),
            _pdq_bits(middle_pdq).tobytes(),
            _phash_bits(middle_phash).tobytes(),
        )

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        """What to look for: every position of the whole picture, and of it without a plain frame;
        its middle, upright and mirrored."""
        parts = [(ALL, self._whole, tuple(Position))]
        if (inner := _without_frame(self._grey)) != ALL:
            parts.append((inner, _frequencies(_part(self._grey, inner)), tuple(Position)))
        parts.append((MIDDLE, self._middle, (Position.UPRIGHT, Position.MIRRORED)))
        return tuple(
            Variant(
                position,
                part,
                _pdq_bits(_laid(pdq, position, first=1)),
                _phash_bits(_laid(phash, position, first=0)),
            )
            for part, (pdq, phash, quality), positions in parts
            if quality >= FLAT
            for position in positions
        )


ALL = (0.0, 0.0, 1.0, 1.0)
MIDDLE = (0.5 - _MIDDLE / 2, 0.5 - _MIDDLE / 2, 0.5 + _MIDDLE / 2, 0.5 + _MIDDLE / 2)


def scaled(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """So that the longer side has at most `side` pixels."""
    height, width = pixels.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return pixels
    size = max(1, round(width * side / longer)), max(1, round(height * side / longer))
    made: NDArray[np.uint8] = np.asarray(
        cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8
    )
    return made


def content_hash(pixels: Pixels) -> bytes:
    """16 bytes of SHA-256 over size and pixels: equal for equal pictures."""
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()[:16]


def compare_hashes(variants: tuple[Variant, ...], document: Hashes) -> HashMatch | None:
    """The nearest pair: the smallest PDQ distance counts. None if either picture is too flat."""
    if document.flat:
        return None
    kept = [
        (ALL, document.pdq, document.phash),
        (MIDDLE, document.middle_pdq, document.middle_phash),
    ]
    found = [
        HashMatch(
            distance(variant.pdq, np.frombuffer(pdq, np.uint64)),
            distance(variant.phash, np.frombuffer(phash, np.uint64)),
            variant.position,
            variant.part,
            part,
        )
        for variant in variants
        for part, pdq, phash in kept
        # Of two middles, the whole pictures tell more.
        if not (variant.part == part == MIDDLE)
    ]
    return min(found, key=lambda match: (match.pdq, match.phash), default=None)


def distance(a: Bits, b: Bits) -> int:
    return int(np.bitwise_count(a ^ b).sum())


_Frequencies = tuple[NDArray[np.float32], NDArray[np.float32], int]
"""(16, 16) of PDQ, (8, 8) of pHash, PDQ's quality."""


def _grey(pixels: Pixels) -> NDArray[np.float32]:
    """(h, w): luma 0 to 255."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(np.asarray(pixels, np.float32) @ weights)


def _part(
    grey: NDArray[np.float32], part: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    height, width = grey.shape
    left, top, right, bottom = part
    x, y = round(left * width), round(top * height)
    return grey[y : max(y + 1, round(bottom * height)), x : max(x + 1, round(right * width))]


def _without_frame(grey: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """The picture without rows and columns at its edges that are of one brightness."""
    rows = np.flatnonzero(grey.std(axis=1) > _PLAIN)
    columns = np.flatnonzero(grey.std(axis=0) > _PLAIN)
    if rows.size == 0 or columns.size == 0:
        return ALL
    height, width = grey.shape
    inner = (
        columns[0] / width,
        rows[0] / height,
        (columns[-1] + 1) / width,
        (rows[-1] + 1) / height,
    )
    cut = max(inner[0], inner[1], 1 - inner[2], 1 - inner[3])
    # A few pixels are no frame.
    return inner if cut > 0.01 else ALL


_PLAIN = 4.0
"""Standard deviation of a row that is of one brightness, but for JPEG's noise."""


def _frequencies(grey: NDArray[np.float32]) -> _Frequencies:
    small = _jarosz(grey)
    basis = _cosines(64)
    low = basis[1:17] @ small @ basis[1:17].T
    phash_small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    few = _cosines(32)[:8]
    return (
        low.astype(np.float32),
        np.asarray(few @ phash_small @ few.T, np.float32),
        _quality(small),
    )


def _jarosz(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """(64, 64): two passes of a box filter, then samples."""
    height, width = grey.shape
    blurred = grey
    for _ in range(2):
        blurred = _box(blurred, (width + 127) // 128, axis=1)
        blurred = _box(blurred, (height + 127) // 128, axis=0)
    rows = ((np.arange(64) + 0.5) * height / 64).astype(int)
    columns = ((np.arange(64) + 0.5) * width / 64).astype(int)
    return blurred[np.ix_(rows, columns)]


def _box(values: NDArray[np.float32], window: int, axis: int) -> NDArray[np.float32]:
    """The mean of `window` neighbours along an axis, of fewer at the ends."""
    if window <= 1:
        return values
    ahead = (window + 2) // 2 - 1
    size = (window, 1) if axis == 1 else (1, window)
    anchor = tuple(max(0, length - 1 - ahead) if length > 1 else 0 for length in size)
    height, width = values.shape
    ones = np.ones((1, width) if axis == 1 else (height, 1), np.float32)
    sums, counts = (
        cv2.boxFilter(
            each, cv2.CV_64F, size, anchor=anchor, normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        for each in (values, ones)
    )
    return np.asarray(sums / counts, np.float32)


def _quality(small: NDArray[np.float32]) -> int:
    """PDQ's: how much brightness changes from place to place, 0 to 100."""
    steps = [np.abs((np.diff(small, axis=axis) * 100 / 255).astype(np.int64)) for axis in (0, 1)]
    return min(100, int(sum(each.sum() for each in steps)) // 90)


@cache
def _cosines(size: int) -> NDArray[np.float64]:
    """(size, size): the DCT-II of `size` samples, unscaled: row k is frequency k."""
    k, n = np.arange(size)[:, None], np.arange(size)[None, :]
    return np.asarray(np.cos(np.pi / size * k * (n + 0.5)) * (2 / size) ** 0.5)


def _laid(
    frequencies: NDArray[np.float32], position: Position, *, first: int
) -> NDArray[np.float32]:
    """The frequencies of the picture in another position; the first row is frequency `first`."""
    signs = np.asarray((-1.0) ** (np.arange(len(frequencies)) + first), np.float32)
    across, down = signs[None, :], signs[:, None]
    match position:
        case Position.UPRIGHT:
            return frequencies
        case Position.MIRRORED:
            return frequencies * across
        case Position.UPSIDE_DOWN:
            return frequencies * across * down
        case Position.FLIPPED:
            return frequencies * down
        case Position.TRANSPOSED:
            return frequencies.T
        case Position.TURNED_RIGHT:
            return frequencies.T * across
        case Position.TURNED_LEFT:
            return frequencies.T * down
        case Position.TRANSVERSED:
            return frequencies.T * across * down


def _pdq_bits(frequencies: NDArray[np.float32]) -> Bits:
    # The median of 256 as PDQ takes it: the 128th. The last bit comes first in its hex form.
    median = np.partition(frequencies.ravel(), 127)[127]
    return _packed((frequencies.ravel() > median)[::-1])


def _phash_bits(frequencies: NDArray[np.float32]) -> Bits:
    return _packed(frequencies.ravel() > np.median(frequencies))


def _packed(bits: NDArray[np.bool_]) -> Bits:
    return np.asarray(np.packbits(bits).view(np.uint64))


def unpacked(hashes: Iterator[bytes] | list[bytes]) -> Bits:
    """(n, words): many stored hashes, for `hamming.py`."""
    joined = list(hashes)
    words = len(joined[0]) // 8 if joined else 4
    return np.frombuffer(b"".join(joined), np.uint64).reshape(-1, words)
