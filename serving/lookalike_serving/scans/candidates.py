"""Which documents of a scan may show the same picture: proposals, which are then verified. Pure.

Hashes propose documents with equal pixels, and those whose PDQ hash is near in any position, as a
whole or one as the middle of the other. Embeddings propose neighbours that are nearer than
different pictures are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from lookalike_crds.image_collection import Distance
from lookalike_serving.duplicates.hash_join import POSITION_BITS, Codes, Pairs, near, positions
from lookalike_serving.duplicates.hashes import Hashes, Position, row_of
from lookalike_serving.index.protocol import Vector

_MOST_BY_HASH = 50
"""Nearest hashes that a document is compared with."""
_FEW = 0.2
"""Share of the documents up to which joining the fresh ones with all of them is faster."""
_LEAST_SAMPLE = 20
_LAID = (
    Position.MIRRORED,
    Position.UPSIDE_DOWN,
    Position.FLIPPED,
    Position.TRANSPOSED,
    # One picture is near to the other turned right if that is near to it turned left.
    Position.TURNED_RIGHT,
    Position.TRANSVERSED,
)
_ROW = 80
"""Bytes: content 16, PDQ 32, PDQ of the middle 32."""


class HashColumns:
    """The hashes of the documents of a scan, by number: 81 bytes for each."""

    def __init__(self) -> None:
        self._rows = bytearray()
        self._usable = bytearray()

    def add(self, hashes: Hashes | None) -> None:
        """Of the next document."""
        if hashes is None:
            self._rows += bytes(_ROW)
            self._usable.append(0)
            return
        self._rows += hashes.content + hashes.pdq + hashes.middle_pdq
        self._usable.append(1 if hashes.flat else 2)

    def add_stored(self, stored: str | None) -> bool:
        """Of the next document, as `Hashes.stored` wrote them; whether there are any."""
        row = row_of(stored)
        if row is None:
            self.add(None)
            return False
        words, flat = row
        self._rows += words
        self._usable.append(1 if flat else 2)
        return True

    @property
    def usable(self) -> NDArray[np.uint8]:
        """0: no hashes; 1: of the pixels alone; 2: all."""
        return np.frombuffer(bytes(self._usable), np.uint8)

    @property
    def words(self) -> NDArray[np.uint64]:
        """(n, 10): two words of the content's hash, four of PDQ, four of the middle's."""
        return np.frombuffer(bytes(self._rows), np.uint64).reshape(-1, _ROW // 8)


def _representatives(contents: NDArray[np.uint64], usable: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(n,): for each document the first one with the same pixels, which is mostly itself."""
    first = np.arange(len(usable))
    order = np.lexsort((first, contents[:, 1], contents[:, 0]))
    order = order[usable[order] > 0]
    if len(order) < 2:
        return first
    same = (contents[order[1:]] == contents[order[:-1]]).all(axis=1)
    begins = np.flatnonzero(np.concatenate([[True], ~same]))
    lengths = np.diff(np.append(begins, len(order)))
    first[order] = np.repeat(order[begins], lengths)
    return first


def candidates(
    columns: HashColumns,
    neighbours: Iterable[tuple[int, int]],
    fresh: NDArray[np.bool_],
    radius: int,
) -> NDArray[np.int64]:
    """(m, 2): pairs to verify, the smaller number first, in order.

    `neighbours`: by embedding. `fresh`: (n,), the documents without earlier results; a pair of
    others is left out. Of documents with the same pixels, the first stands for all.
    """
    words, usable = columns.words, columns.usable
    stands = _representatives(words[:, :2], usable)
    numbers = np.arange(len(stands))
    equal = np.stack([stands, numbers], axis=1)[stands != numbers]
    proposed = np.array(list(neighbours), np.int64).reshape(-1, 2)
    # With the same pixels, one that is fresh makes all of them fresh: any may stand for the others.
    as_one = fresh.copy()
    np.logical_or.at(as_one, stands, fresh)
    chosen = np.flatnonzero((usable == 2) & (stands == numbers))
    near_hashes = chosen[_by_hash(words[chosen], as_one[chosen], radius)]
    found = np.concatenate([near_hashes, stands[proposed]])
    found = found[as_one[found].any(axis=1)]
    equal = equal[fresh[equal].any(axis=1)]
    both = np.sort(np.concatenate([equal, found]), axis=1)
    return np.unique(both[both[:, 0] != both[:, 1]], axis=0)


def _by_hash(words: NDArray[np.uint64], fresh: NDArray[np.bool_], radius: int) -> NDArray[np.int64]:
    """(m, 2): pairs whose hashes are near; those of two that are not fresh may be missing."""
    whole, middle = np.ascontiguousarray(words[:, 2:6]), np.ascontiguousarray(words[:, 6:10])
    new = np.flatnonzero(fresh)
    few = len(new) <= _FEW * len(words)
    found = _few_with_all(whole, middle, new, radius) if few else _all(whole, middle, radius)
    found[:, :2] = np.sort(found[:, :2], axis=1)
    found = found[found[:, 0] != found[:, 1]]
    return _nearest(found)


def _all(whole: Codes, middle: Codes, radius: int) -> Pairs:
    laid = radius + POSITION_BITS
    joined = [near(whole, None, radius)]
    joined += [near(positions(whole, each), whole, laid) for each in _LAID]
    joined += [near(whole, middle, radius)]
    joined += [near(positions(whole, Position.MIRRORED), middle, laid)]
    return np.concatenate(joined)


def _few_with_all(whole: Codes, middle: Codes, new: NDArray[np.int64], radius: int) -> Pairs:
    """The pairs of all that have a row of `new`."""
    laid = radius + POSITION_BITS
    ours, inner = whole[new], middle[new]
    joined = [near(ours, whole, radius)]
    # Here each of a pair is asked for on its own, so one may have to be turned either way.
    for each in (*_LAID, Position.TURNED_LEFT):
        joined.append(near(positions(ours, each), whole, laid))
    joined += [near(ours, middle, radius), near(inner, whole, radius)]
    joined += [near(positions(ours, Position.MIRRORED), middle, laid)]
    # A whole that is near to the middle if mirrored is near to the mirrored middle.
    joined += [near(positions(inner, Position.MIRRORED), whole, laid)]
    found = np.concatenate(joined)
    found[:, 0] = new[found[:, 0]]
    return found


def _nearest(found: NDArray[np.int64]) -> NDArray[np.int64]:
    """(m, 2): of pairs with distances, those that are among the nearest of both of their sides."""
    found = found[np.lexsort((found[:, 2], found[:, 1], found[:, 0]))]
    if len(found):
        keep = np.ones(len(found), bool)
        keep[1:] = (found[1:, :2] != found[:-1, :2]).any(axis=1)
        found = found[keep]
    kept = np.ones(len(found), bool)
    for side in (0, 1):
        order = np.lexsort((found[:, 1 - side], found[:, 2], found[:, side]))
        sides = found[order, side]
        begins = np.flatnonzero(np.diff(sides, prepend=-1))
        rank = np.arange(len(sides)) - np.repeat(begins, np.diff(np.append(begins, len(sides))))
        kept[order] &= rank < _MOST_BY_HASH
    return found[kept, :2]


def nearest_from(
    vectors: Sequence[Vector], distance: Distance, documents: int, most: int
) -> float | None:
    """The score from which a neighbour is a candidate: so high that of all different pictures, a
    document has about `most` such neighbours.

    Estimated from the pairs of a sample by their median and lower spread, so that copies within the
    sample, which are in the upper tail, change nothing. The more documents there are, the higher it
    is. None if the sample or the collection is too small to tell: then all neighbours are.
    """
    if len(vectors) < _LEAST_SAMPLE or documents <= most:
        return None
    stacked = np.stack(vectors).astype(np.float64)
    scores = _scores(stacked, distance)[np.triu_indices(len(stacked), 1)]
    middle, low = np.quantile(scores, [0.5, NormalDist().cdf(-1)])
    return float(middle + (middle - low) * NormalDist().inv_cdf(1 - min(0.5, most / documents)))


def _scores(vectors: NDArray[np.float64], distance: Distance) -> NDArray[np.float64]:
    """(n, n): as the engines score, higher is better."""
    if distance is Distance.EUCLID:
        squares = (vectors**2).sum(axis=1)
        away = squares[:, None] + squares[None, :] - 2 * vectors @ vectors.T
        return np.asarray(1 / (1 + np.sqrt(np.maximum(away, 0))))
    if distance is Distance.COSINE:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(vectors @ vectors.T)
