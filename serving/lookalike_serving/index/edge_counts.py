"""Counts of an Edge index, cached until the index is written to.

The engine counts by visiting every document of a filter. But the same counts are requested again
and again: a search page shows its facets with every view, and most views begin without a filter. So
answers are cached by their request as long as no document changes, and always equal what the engine
would answer at that time.

New counts may take long, and are requested by the dozen. Only one at a time is computed, so that
searches wait for at most one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, cast

from cachetools import LRUCache

from lookalike_serving.index.protocol import ValueCounts

T = TypeVar("T")

_MAX_VALUES = 200_000
"""Values and numbers that are remembered, some 20 MB: those that were asked for last."""


class EdgeCounts:
    """The counts of one index."""

    def __init__(self) -> None:
        self._told: LRUCache[bytes, Any] = LRUCache(_MAX_VALUES, getsizeof=_size)
        self._writes = 0
        self._turn = asyncio.Lock()

    async def told(self, asked: tuple[Any, ...], count: Callable[[], Awaitable[T]]) -> T:
        """The answer to `asked`; `count` finds it if it is not known."""
        # By what is written: `True`, `1` and `1.0` are equal, and three different values.
        key = hashlib.blake2b(repr(asked).encode(errors="surrogatepass")).digest()
        if key in self._told:
            return cast(T, self._told[key])
        async with self._turn:
            if key in self._told:  # another asked the same, and was first
                return cast(T, self._told[key])
            writes = self._writes
            answer = await count()
            if self._writes == writes:
                self._told[key] = answer
            return answer

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Around a write: what was counted before its end is not known afterwards."""
        try:
            yield
        finally:
            self._writes += 1
            self._told.clear()


def _size(answer: Any) -> int:
    return 1 + len(answer.counts) if isinstance(answer, ValueCounts) else 1
