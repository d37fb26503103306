"""The nearest of many hashes by Hamming distance, exactly, without tables.

Every search reads the first 64 bits of all hashes (8 bytes each; a million take about 2 ms on one
core) and looks at the rest only where those are near enough. Hashes of other pictures differ in
half of their bits, with little spread, so next to nothing passes; a hash within the radius fails to
pass with a probability below one in a million (`_FIRST_WORD`). Tables of substrings (multi-index
hashing) are quicker from some ten millions on, but take three times the memory and must be built:
`bench/hamming.py` has the figures.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

K = TypeVar("K", bound=Hashable)

_FIRST_WORD = 20
"""Most bits of the first 64 in which a hash may differ. At 48 of 256 bits, the largest radius,
the first 64 differ in 12 on average with a standard deviation of 2.7 (hypergeometric)."""
_START = 1024


class Near(NamedTuple, Generic[K]):
    key: K
    distance: int


class HammingIndex(Generic[K]):
    """Hashes by key. Safe for threads; searches run beside each other.

    A key may hold several hashes (the whole picture, its middle): they count as one.
    """

    def __init__(self, words: int) -> None:
        """`words`: 64-bit words of one hash: 4 for PDQ, 1 for pHash."""
        self._words = words
        # By word, so that a search reads the first one in one go.
        self._codes: NDArray[np.uint64] = np.zeros((words, _START), np.uint64)
        self._keys: list[K | None] = []
        self._places: dict[K, list[int]] = {}
        self._free: list[int] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Keys."""
        return len(self._places)

    @property
    def memory(self) -> int:
        """Bytes of the hashes alone."""
        return self._codes.nbytes

    def put(self, key: K, hashes: Sequence[bytes]) -> None:
        """Hold these hashes for `key`, instead of what it had."""
        rows = [np.frombuffer(each, np.uint64) for each in hashes]
        with self._lock:
            self._remove(key)
            self._places[key] = [self._add(key, row) for row in rows]

    def remove(self, key: K) -> None:
        with self._lock:
            self._remove(key)

    def _add(self, key: K, row: NDArray[np.uint64]) -> int:
        if self._free:
            place = self._free.pop()
            self._keys[place] = key
        else:
            place = len(self._keys)
            if place == self._codes.shape[1]:
                grown = np.zeros((self._words, place + max(_START, place // 2)), np.uint64)
                grown[:, :place] = self._codes
                self._codes = grown
            self._keys.append(key)
        self._codes[:, place] = row
        return place

    def _remove(self, key: K) -> None:
        for place in self._places.pop(key, ()):
            self._keys[place] = None
            self._free.append(place)

    def search(self, query: NDArray[np.uint64], radius: int) -> list[Near[K]]:
        """All keys with a hash within `radius` bits of `query` ((words,) uint64), nearest first."""
        with self._lock:  # for the moment in which it might be replaced
            codes, count = self._codes, len(self._keys)
        first = np.bitwise_count(codes[0, :count] ^ query[0])
        at_most = radius if self._words == 1 else min(radius, _FIRST_WORD)
        (passed,) = np.nonzero(first <= at_most)
        if passed.size == 0:
            return []
        rest = np.bitwise_count(codes[1:, passed] ^ query[1:, None])
        distances = first[passed].astype(np.int64) + rest.sum(axis=0, dtype=np.int64)
        found: dict[K, int] = {}
        for place, away in zip(passed.tolist(), distances.tolist(), strict=True):
            key = self._keys[place]
            if away <= radius and key is not None and away < found.get(key, radius + 1):
                found[key] = away
        return [Near(key, away) for key, away in sorted(found.items(), key=lambda each: each[1])]
