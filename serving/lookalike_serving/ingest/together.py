"""How the processes of one run read a thing together: each part of it is read once.

    the process whose turn it is --reads--> pages --> the run's records --> every process

What is read is the listing of a bucket (`listing.py`) or what is in its archives
(`sources/contents.py`). Each process goes through all of it, page by page, and takes what is its
own. It reads a page from the records of the run; if nobody has written it, and nobody is reading,
it reads from there on itself. So no process waits for a page that it could have had earlier by
itself, other than for the seconds after which a process that was killed is found to be silent.

Whose turn it is, is agreed upon without a lock: whoever finds no one reading writes its name,
waits a moment, and reads if its name is still there. Two may read the same part for a moment, which
costs a few calls and changes nothing: a page is found by where it begins.

Reading runs ahead of the images, in constant memory, since its pages are in the records. They are
deleted when the run has ended.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import time
import uuid
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from lookalike_crds.config import IngestionConfig
from lookalike_crds.progress import RUN_VARIABLE
from lookalike_serving.books.listings import Listings, Turn
from lookalike_serving.books.record import Scope
from lookalike_serving.books.store import Books
from lookalike_serving.index.protocol import IndexFailure, PointStore
from lookalike_serving.ingest.partition import Partition

BEAT_SECONDS = 2.0
SILENT_SECONDS = 10.0
"""A process that reads and has not said so for this long has been killed."""
_SETTLED_SECONDS = 0.25
"""From writing one's name to reading whose it is: longer than two writes take."""
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 0.5

_T = TypeVar("_T")
ReadOn = Callable[[str], AsyncGenerator[tuple[str, str], None]]
"""Reads from where a page begins to the end of everything: (where a page begins, the page). The
first page begins where it was asked for."""

log = logging.getLogger("lookalike.ingest")


class Together:
    """One process among several that share a run.

    `silent_seconds`: see SILENT_SECONDS.
    """

    def __init__(self, listings: Listings, *, silent_seconds: float = SILENT_SECONDS) -> None:
        self._listings = listings
        self._silent_seconds = silent_seconds
        self._under_way: set[Shared] = set()

    @contextlib.asynccontextmanager
    async def sharing(self, place: str, read_on: ReadOn) -> AsyncIterator[Shared]:
        """`place` names what is read, the same in every process."""
        shared = Shared(self._listings, place, read_on, self._silent_seconds)
        self._under_way.add(shared)
        try:
            yield shared
        finally:
            await shared.close()
            self._under_way.discard(shared)

    async def close(self) -> None:
        """End what this process reads for all. May be called again."""
        for shared in list(self._under_way):
            await shared.close()


def together(config: IngestionConfig, records: PointStore, partition: Partition) -> Together | None:
    """None for a process that is alone, or does not know which run it shares."""
    run = os.environ.get(RUN_VARIABLE)
    if partition.whole or not run:
        return None
    return Together(Listings(lambda: records, Scope.of(config.collection), run))


async def forget_ended(config: IngestionConfig, records: PointStore) -> None:
    """Delete the pages of runs that no process goes through any more. Never raises."""
    scope = Scope.of(config.collection)
    try:
        runs = await Books(lambda: records, scope).runs()
        now = datetime.now(UTC)
        under_way = {run.id for run in runs if not run.ended and not run.interrupted(now)}
        await Listings(lambda: records, scope, "").drop_others(under_way)
    except Exception as failure:  # the next run does it
        log.warning("pages of listings could not be deleted: %s", failure)


class Shared:
    """One process on its way through what several read together.

    Raises IndexFailure beside what reading raises.
    """

    def __init__(
        self,
        listings: Listings,
        place: str,
        read_on: ReadOn,
        silent_seconds: float,
    ) -> None:
        self._listings = listings
        self._place = place
        self._read_on = read_on
        self._name = uuid.uuid4().hex
        self._silent_seconds = silent_seconds
        self._own: asyncio.Task[None] | None = None
        self._seen: tuple[Turn | None, float] = (None, 0.0)
        """Whose turn it was when that was last news, and when it was. By the clock of this process:
        clocks of machines differ."""

    async def pages(
        self,
        first: str,
        decoded: Callable[[str], Sequence[_T]],
        following: Callable[[str, Sequence[_T]], str],
    ) -> AsyncIterator[Sequence[_T]]:
        """From the page that begins at `first` to the one before the next empty one.

        `following` says where the next page begins, from where a page began and what is in it.
        """

        async def next_page(begin: str) -> Sequence[_T]:
            return decoded(await self._page(begin))

        begin = first
        coming = asyncio.ensure_future(next_page(begin))
        try:
            while page := await coming:
                # The next page comes while this one is gone through.
                begin = following(begin, page)
                coming = asyncio.ensure_future(next_page(begin))
                yield page
        finally:
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await coming

    async def close(self) -> None:
        if self._own is not None:
            self._own.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._own

    async def _page(self, begin: str) -> str:
        pause = _PAUSE_SECONDS
        while True:
            page, turn = await self._listings.find(self._place, begin)
            if page is not None:
                return page
            if self._own is not None and self._own.done():
                self._own.result()  # why it could not be read
                self._own = None
            elif self._own is None and self._nobody_reads(turn) and await self._take_turn():
                self._own = asyncio.create_task(self._read(begin))
                pause = _PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _nobody_reads(self, turn: Turn | None) -> bool:
        now = time.monotonic()
        if turn is None or turn.holder == self._name:
            return True
        if turn != self._seen[0]:
            self._seen = (turn, now)
        return now - self._seen[1] > self._silent_seconds

    async def _take_turn(self) -> bool:
        await self._listings.take_turn(self._place, Turn(self._name, 0))
        await asyncio.sleep(_SETTLED_SECONDS)
        return await self._is_mine()

    async def _is_mine(self) -> bool:
        turn = await self._listings.turn(self._place)
        return turn is not None and turn.holder == self._name

    async def _read(self, begin: str) -> None:
        """Read from `begin` to the end, unless another process takes over."""
        reading = asyncio.current_task()
        assert reading is not None
        beating = asyncio.create_task(self._beat(reading))
        mine = True
        try:
            async with contextlib.aclosing(self._read_on(begin)) as pages:
                async for begins, page in pages:
                    await self._listings.write(self._place, begins, page)
        except asyncio.CancelledError:
            if not beating.done():
                raise
            mine = False  # another process has taken over, whose pages are read from here on
        finally:
            beating.cancel()
            if mine:
                # A process that is going to end says so: nobody need wait until it is silent.
                with contextlib.suppress(IndexFailure):
                    await self._listings.end_turn(self._place)

    async def _beat(self, reading: asyncio.Task[None]) -> None:
        beat = 0
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                if not await self._is_mine():
                    break
                beat += 1
                await self._listings.take_turn(self._place, Turn(self._name, beat))
            except IndexFailure as failure:  # writing pages fails for it, too
                log.warning("whose turn it is to read could not be written: %s", failure)
        reading.cancel()


def packed(text: str) -> str:
    """A page as it is written down, of its JSON."""
    return base64.b64encode(zlib.compress(text.encode(), 1)).decode()


def unpacked(page: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(page)))
