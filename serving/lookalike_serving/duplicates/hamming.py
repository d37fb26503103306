"""The nearest of many hashes by Hamming distance, exactly, without tables.

Every search reads the first 64 bits of all hashes and looks at the rest only where those are near
enough. Hashes of other pictures differ in half of their bits, with little spread, so next to
nothing passes; a hash within 47 bits fails to pass with a probability below one in a thousand
(`_FIRST_WORD`). This takes some two times as long as faiss' flat index does, and less than its
tables of substrings (multi-index hashing) at this radius; `bench/hamming.py` has the figures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FIRST_WORD = 20
"""Most bits of the first 64 in which a hash may differ. At 47 of 256 bits, these differ in 12 on
average, and in more than 20 with a probability of .0009 (hypergeometric)."""
_START = 1024
_AT_ONCE = 1 << 15
"""Hashes that are read for all queries before the next are: they fit into a core's cache."""


def no_codes(words: int) -> NDArray[np.uint64]:
    """Room for hashes of so many 64-bit words, one in each column."""
    return np.zeros((words, _START), np.uint64)


def with_room(codes: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """The same codes if there is a column after `count` ones, or else a larger array with them."""
    words, columns = codes.shape
    if count < columns:
        return codes
    grown = np.zeros((words, count + max(_START, count // 2)), np.uint64)
    grown[:, :count] = codes
    return grown


def nearest(codes: NDArray[np.uint64], queries: NDArray[np.uint64], radius: int) -> dict[int, int]:
    """Place -> distance, of all codes within `radius` bits of one of the queries.

    `codes`: (words, n), a hash in each column; `queries`: (m, words), or (words,) for one.
    """
    words, count = codes.shape
    at_most = radius if words == 1 else min(radius, _FIRST_WORD)
    found: dict[int, int] = {}
    for start in range(0, count, _AT_ONCE):
        part = codes[0, start : start + _AT_ONCE]
        for query in queries.reshape(-1, words):
            first = np.bitwise_count(part ^ query[0])
            passed = np.flatnonzero(first <= at_most)
            if passed.size == 0:
                continue
            rest = np.bitwise_count(codes[1:, passed + start] ^ query[1:, None])
            distances = first[passed].astype(np.int64) + rest.sum(axis=0, dtype=np.int64)
            for place, away in zip((passed + start).tolist(), distances.tolist(), strict=True):
                if away <= radius and away < found.get(place, radius + 1):
                    found[place] = away
    return found
