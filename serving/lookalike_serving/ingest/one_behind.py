"""Two steps that overlap: the second works on one piece while the first prepares the next."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Self

from lookalike_serving.ingest.sources import SourceError


class OneBehind:
    """Does one piece of work while the next one is prepared, and never two at a time."""

    def __init__(self) -> None:
        self._under_way: asyncio.Task[None] | None = None

    async def next(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin `work` when that before has ended. Raises what that before has raised."""
        before, self._under_way = self._under_way, None
        try:
            if before is not None:
                await before
        except BaseException:
            work.close()
            raise
        self._under_way = asyncio.create_task(work)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Returns when nothing is under way; after an error of the caller's that is not a source's
        own, it is not done to its end."""
        if self._under_way is None:
            return
        if error is not None and not isinstance(error, SourceError):
            self._under_way.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._under_way
            return
        await self._under_way
