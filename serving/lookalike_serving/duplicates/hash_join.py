"""All pairs of near hashes among many: a self-join by Hamming distance.

Few hashes are compared each with each. Of many, those are compared that are equal in some randomly
chosen bits (locality-sensitive hashing by bit sampling: Indyk and Motwani, 1998): two hashes with
`d` of 256 bits different are equal in `k` chosen bits with probability (1 - d/256)^k, and one such
table after the other is made until pairs at the very radius are found with a probability of
`_RECALL`. With k = log2 n, a table compares about n pairs of different pictures. The distance of
every pair that is found is exact, and the tables are the same in every run. If few are joined with
many, the tables are made for the few, and of the many only those in a bucket of one are sorted.

Only the hash of the upright picture is stored, and those of its other seven positions follow from
its bits: a mirrored picture has the same frequencies with other signs, a turned one has them
transposed. Bits of frequencies that lie between the median and its negative come out wrong; these
are few, since the median is near zero (`positions`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lookalike_serving.duplicates.hashes import Position

Codes = NDArray[np.uint64]
"""(n, 4): PDQ hashes, a hash in each row."""
Pairs = NDArray[np.int64]
"""(m, 3): row of the left, row of the right, distance."""

POSITION_BITS = 20
"""Bits in which the hash of another position may differ from what `positions` makes of the upright
one: photographs have 4 to 14 of them."""
_BITS = 256
_EACH_WITH_EACH = 10**8
"""Comparisons, up to which nothing else is tried: a few seconds."""
_RECALL = 0.98
_MOST_TABLES = 128
_MOST_IN_BUCKET = 64
"""Hashes with which one is compared in a table. Hashes that more share hang together anyway."""
_SIEVE_BITS = 22
"""Of a key, by which the many are sifted before they are sorted: 4 MB."""
_ROWS = 256
_SEED = 20

_TRANSPOSED = {
    Position.TRANSPOSED: Position.UPRIGHT,
    Position.TURNED_RIGHT: Position.MIRRORED,
    Position.TURNED_LEFT: Position.FLIPPED,
    Position.TRANSVERSED: Position.UPSIDE_DOWN,
}


def positions(codes: Codes, position: Position) -> Codes:
    """The hashes of the pictures laid in another position, but for a few bits."""
    signs = _TRANSPOSED.get(position, position)
    laid = _transposed(codes) if position in _TRANSPOSED else codes
    return laid if signs is Position.UPRIGHT else laid ^ _signs(signs)


def near(left: Codes, right: Codes | None, radius: int) -> Pairs:
    """The pairs of rows within `radius` bits, of few with many as (few, many). `right` None: of
    `left` with itself, each pair once and the smaller row first."""
    same = right is None
    other = left if right is None else right
    if len(left) == 0 or len(other) == 0:
        return np.zeros((0, 3), np.int64)
    if len(left) * len(other) <= _EACH_WITH_EACH:
        return _each_with_each(left, other, radius, same=same)
    return _by_tables(left, other, radius, same=same)


def _each_with_each(left: Codes, right: Codes, radius: int, *, same: bool) -> Pairs:
    found = []
    columns = np.ascontiguousarray(right.T)
    for start in range(0, len(left), _ROWS):
        block = left[start : start + _ROWS]
        first = start if same else 0
        # Two hashes of different pictures are too far apart by half of their words already.
        half = np.bitwise_count(block[:, 0, None] ^ columns[0, first:])
        half += np.bitwise_count(block[:, 1, None] ^ columns[1, first:])
        rows, others = np.nonzero(half <= radius)
        distances = half[rows, others].astype(np.uint16)
        rows, others = rows + start, others + first
        for word in (2, 3):
            distances += np.bitwise_count(left[rows, word] ^ right[others, word])
        passed = distances <= radius
        rows, others, distances = rows[passed], others[passed], distances[passed]
        if same:
            later = others > rows
            rows, others, distances = rows[later], others[later], distances[later]
        found.append(np.stack([rows, others, distances.astype(np.int64)], axis=1))
    return np.concatenate(found)


def _by_tables(left: Codes, right: Codes, radius: int, *, same: bool) -> Pairs:
    random = np.random.default_rng(_SEED)
    # Four buckets for each of the few: the many that fall into none cost nothing more.
    count, tables = tables_for(len(left) if same else min(4 * len(left), len(right)), radius)
    known = np.zeros(0, np.uint64)
    for _ in range(tables):
        masks = _masks(random.choice(_BITS, count, replace=False))
        odd = random.integers(0, 2**62, 4, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        a, b = _in_same_bucket(left, right, masks, odd, same=same)
        away = np.zeros(len(a), np.uint16)
        for word in range(4):
            away += np.bitwise_count(left[a, word] ^ right[b, word])
        passed = away <= radius
        packed = (a[passed].astype(np.uint64) << np.uint64(32)) | b[passed].astype(np.uint64)
        known = np.union1d(known, packed)
    a = (known >> np.uint64(32)).astype(np.int64)
    b = (known & np.uint64(0xFFFFFFFF)).astype(np.int64)
    away = np.bitwise_count(left[a] ^ right[b]).sum(axis=1, dtype=np.int64)
    return np.stack([a, b, away], axis=1)


def tables_for(count: int, radius: int) -> tuple[int, int]:
    """(bits of a table, tables) for so many hashes."""
    bits = max(8, math.ceil(math.log2(count)))
    once = (1 - radius / _BITS) ** bits
    return bits, min(_MOST_TABLES, math.ceil(math.log(1 - _RECALL) / math.log(1 - once)))


def _in_same_bucket(
    left: Codes, right: Codes, masks: Codes, odd: Codes, *, same: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of both whose chosen bits are equal, and a few more by chance."""
    ours, keys = _sorted(left, masks, odd)
    if same:
        theirs = ours
        first = np.arange(1, len(keys) + 1)
        last = np.searchsorted(keys, keys, "right")
    else:
        theirs, their_keys = _sorted(right, masks, odd, among=keys)
        first = np.searchsorted(their_keys, keys, "left")
        last = np.searchsorted(their_keys, keys, "right")
    counts = np.minimum(last - first, _MOST_IN_BUCKET)
    at = np.repeat(np.arange(len(keys)), counts)
    within = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    a, b = ours[at], theirs[first[at] + within]
    return (np.minimum(a, b), np.maximum(a, b)) if same else (a, b)


def _sorted(
    codes: Codes, masks: Codes, odd: Codes, among: NDArray[np.uint32] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """(rows, their keys), by key; of those whose keys are `among` these, and some others."""
    mixed = np.zeros(len(codes), np.uint64)
    for word in range(4):
        if masks[word]:
            mixed ^= (codes[:, word] & masks[word]) * odd[word]
    mixed &= np.uint64(0xFFFFFFFF00000000)
    mixed |= np.arange(len(codes), dtype=np.uint64)
    if among is not None:
        there = np.zeros(1 << _SIEVE_BITS, bool)
        there[among >> np.uint32(32 - _SIEVE_BITS)] = True
        mixed = mixed[there[mixed >> np.uint64(64 - _SIEVE_BITS)]]
    mixed.sort()
    return (mixed & np.uint64(0xFFFFFFFF)).astype(np.int64), (mixed >> np.uint64(32)).astype(
        np.uint32
    )


def _masks(chosen: NDArray[np.int64]) -> Codes:
    bits = np.zeros(_BITS, np.uint8)
    bits[chosen] = 1
    return np.packbits(bits).view(np.uint64)


def _grid(codes: Codes) -> NDArray[np.uint8]:
    """(n, 16, 16) bits, by frequency: `hashes._pdq_bits` stores the last one first."""
    bits = np.unpackbits(np.ascontiguousarray(codes).view(np.uint8), axis=1)
    return bits[:, ::-1].reshape(-1, 16, 16)


def _codes(grid: NDArray[np.uint8]) -> Codes:
    return np.packbits(grid.reshape(-1, _BITS)[:, ::-1], axis=1).view(np.uint64)


def _transposed(codes: Codes) -> Codes:
    made = np.empty_like(codes)
    for start in range(0, len(codes), 1 << 16):
        part = slice(start, start + (1 << 16))
        made[part] = _codes(_grid(codes[part]).transpose(0, 2, 1))
    return made


def _signs(position: Position) -> Codes:
    """(4,): the bits that mirroring inverts, those of odd frequencies; the first frequency is 1."""
    odd = (np.arange(16) % 2 == 0).astype(np.uint8)
    grid = np.zeros((16, 16), np.uint8)
    if position in (Position.MIRRORED, Position.UPSIDE_DOWN):
        grid ^= odd[None, :]
    if position in (Position.FLIPPED, Position.UPSIDE_DOWN):
        grid ^= odd[:, None]
    return np.asarray(_codes(grid[None])[0])
