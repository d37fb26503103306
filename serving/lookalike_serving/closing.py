"""Closes indexes and models that are no longer used, as soon as no request may still use them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lookalike_serving.index.protocol import IndexFailure

GRACE_SECONDS = 5.0
"""Least delay before closing what running requests may still use."""


class Closing:
    """What one service is about to close."""

    def __init__(self) -> None:
        self.requests_over: Callable[[], Awaitable[object]] | None = None
        """Returns when the requests that are in progress are over: the gateway knows them."""
        self.grace_seconds = GRACE_SECONDS
        self._tasks: dict[asyncio.Task[None], Path | None] = {}
        """With the folder that becomes free by it."""

    def later(self, closing: Coroutine[Any, Any, None], frees: Path | None = None) -> None:
        """Await `closing` when the requests that are in progress now are over."""

        async def close() -> None:
            try:
                if self.requests_over is not None:
                    await self.requests_over()
                await asyncio.sleep(self.grace_seconds)
            finally:
                with suppress(IndexFailure, OSError):  # it is not used any more
                    await closing

        task = asyncio.ensure_future(close())
        self._tasks[task] = frees
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def now(self) -> None:
        """Close at once what is about to be closed, without the grace."""
        waiting = list(self._tasks)
        await asyncio.sleep(0)  # each has begun, so that cancelling it ends its delay alone
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting)

    async def until_free(self, paths: Iterable[Path | None]) -> None:
        """What is about to be closed is awaited before it is opened again."""
        wanted = {path for path in paths if path is not None}
        waiting = [task for task, path in self._tasks.items() if path in wanted]
        if waiting:
            await asyncio.wait(waiting)
