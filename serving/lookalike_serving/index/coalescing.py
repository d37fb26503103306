"""Queries that come while the engine is busy go to it together.

A call of an engine in another process costs a message there and back, and one query keeps one core
busy; a call with several queries costs as many messages as one, and uses all cores. So nobody waits
for a batch to fill: whoever finds the engine free is served at once, and those who come meanwhile
share the next call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

_CALLS = 2
"""Under way at once: while the answer of one is read, the engine has the next."""


class Coalescing(Generic[Q, A]):
    """Use it from one event loop. `most`: queries of one call."""

    def __init__(
        self,
        one: Callable[[Q], Awaitable[A]],
        many: Callable[[Sequence[Q]], Awaitable[list[A]]],
        most: int,
    ) -> None:
        self._one = one
        self._many = many
        self._most = most
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._under_way = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, query: Q) -> A:
        """Raises what `one` raises for this query."""
        if self._under_way < _CALLS:
            self._under_way += 1
            try:
                return await self._one(query)
            finally:
                self._next()
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, answer))
        return await answer

    def _next(self) -> None:
        """The call has ended: those who wait have the next."""
        part: list[tuple[Q, asyncio.Future[A]]] = []
        while self._waiting and len(part) < self._most:
            query, answer = self._waiting.popleft()
            if not answer.done():  # else whoever asked was cancelled
                part.append((query, answer))
        if not part:
            self._under_way -= 1
            return
        task = asyncio.get_running_loop().create_task(self._call(part))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, part: list[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            try:
                answers = await self._many([query for query, _ in part])
            except Exception:
                # One of them is refused, or all fail: asked alone, each gets its own failure.
                await self._alone(part)
                return
            for (_, answer), found in zip(part, answers, strict=True):
                if not answer.done():
                    answer.set_result(found)
        except BaseException:
            for _, answer in part:
                answer.cancel()
            raise
        finally:
            self._next()

    async def _alone(self, part: list[tuple[Q, asyncio.Future[A]]]) -> None:
        for query, answer in part:
            if answer.done():
                continue
            try:
                found = await self._one(query)
            except Exception as failure:
                if not answer.done():
                    answer.set_exception(failure)
            else:
                if not answer.done():
                    answer.set_result(found)
