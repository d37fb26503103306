"""How the processes of one run list a bucket together: each key is asked of the service once.

    the process whose turn it is --LIST--> pages --> the run's records --> every process

Each process goes through the whole listing, page by page, and takes what is its own. It reads a
page from the records of the run; if nobody has written it, and nobody is listing, it lists from
there on itself. So no process waits for a page that it could have had earlier by its own listing,
other than for the seconds after which a process that was killed is found to be silent.

Whose turn it is, is agreed upon without a lock: whoever finds no one listing writes its name,
waits a moment, and lists if its name is still there. Two may list the same part for a moment, which
costs a few calls and changes nothing: a page is found by the key that it starts after.

A listing runs ahead of the images, in constant memory, since its pages are in the records. They are
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
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from lookalike_crds.config import IngestionConfig
from lookalike_crds.progress import RUN_VARIABLE
from lookalike_serving.books.listings import Listings, Turn
from lookalike_serving.books.record import Scope
from lookalike_serving.books.store import Books
from lookalike_serving.images.buckets import Listed, ObjectStore
from lookalike_serving.index.protocol import IndexFailure, PointStore
from lookalike_serving.ingest.partition import Partition

BEAT_SECONDS = 2.0
SILENT_SECONDS = 10.0
"""A process that lists and has not said so for this long has been killed."""
_SETTLED_SECONDS = 0.25
"""From writing one's name to reading whose it is: longer than two writes take."""
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 0.5

log = logging.getLogger("lookalike.ingest")


class Lister(Protocol):
    """Lists a bucket, alone or together with others."""

    def __call__(
        self, store: ObjectStore, place: str, prefix: str, start_after: str | None
    ) -> AsyncIterator[Sequence[Listed]]:
        """As `store.list` does. `place` names what is listed, the same in every process."""
        ...


def list_alone(
    store: ObjectStore, place: str, prefix: str, start_after: str | None
) -> AsyncIterator[Sequence[Listed]]:
    return store.list(prefix, start_after)


class Together:
    """A `Lister` of one process among several that share a run.

    `silent_seconds`: see SILENT_SECONDS. Raises IndexFailure beside what a store raises.
    """

    def __init__(self, listings: Listings, *, silent_seconds: float = SILENT_SECONDS) -> None:
        self._listings = listings
        self._name = uuid.uuid4().hex
        self._silent_seconds = silent_seconds
        self._under_way: set[_Going] = set()

    async def __call__(
        self, store: ObjectStore, place: str, prefix: str, start_after: str | None
    ) -> AsyncIterator[Sequence[Listed]]:
        place = "\x00".join((place, prefix, start_after or ""))
        going = _Going(self._listings, store, place, prefix, self._name, self._silent_seconds)
        self._under_way.add(going)
        coming = asyncio.ensure_future(going.page(start_after or ""))
        try:
            while page := await coming:
                # The next page comes while this one is gone through.
                coming = asyncio.ensure_future(going.page(page[-1].key))
                yield page
        finally:
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await coming
            await going.close()
            self._under_way.discard(going)

    async def close(self) -> None:
        """End what this process lists for all. May be called again."""
        for going in list(self._under_way):
            await going.close()


def lister_of(config: IngestionConfig, records: PointStore, partition: Partition) -> Lister:
    """Processes that know which run they share list together."""
    run = os.environ.get(RUN_VARIABLE)
    if partition.whole or not run:
        return list_alone
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


class _Going:
    """One process on its way through one listing."""

    def __init__(
        self,
        listings: Listings,
        store: ObjectStore,
        place: str,
        prefix: str,
        name: str,
        silent_seconds: float,
    ) -> None:
        self._listings = listings
        self._store = store
        self._place = place
        self._prefix = prefix
        self._name = name
        self._silent_seconds = silent_seconds
        self._own: asyncio.Task[None] | None = None
        self._seen: tuple[Turn | None, float] = (None, 0.0)
        """Whose turn it was when that was last news, and when it was. By the clock of this process:
        clocks of machines differ."""

    async def page(self, after: str) -> Sequence[Listed]:
        """The keys that follow `after`; none at the end of the listing."""
        pause = _PAUSE_SECONDS
        while True:
            page, turn = await self._listings.find(self._place, after)
            if page is not None:
                return decoded(page)
            if self._own is not None and self._own.done():
                self._own.result()  # why it could not be listed
                self._own = None
            elif self._own is None and self._nobody_lists(turn) and await self._take_turn():
                self._own = asyncio.create_task(self._list(after))
                pause = _PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def close(self) -> None:
        if self._own is not None:
            self._own.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._own

    def _nobody_lists(self, turn: Turn | None) -> bool:
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

    async def _list(self, after: str) -> None:
        """List from `after` to the end, unless another process takes over."""
        listing = asyncio.current_task()
        assert listing is not None
        beating = asyncio.create_task(self._beat(listing))
        mine = True
        try:
            async for page in self._store.list(self._prefix, after or None):
                if page:
                    await self._listings.write(self._place, after, encoded(page))
                    after = page[-1].key
            await self._listings.write(self._place, after, encoded(()))
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

    async def _beat(self, listing: asyncio.Task[None]) -> None:
        beat = 0
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                if not await self._is_mine():
                    break
                beat += 1
                await self._listings.take_turn(self._place, Turn(self._name, beat))
            except IndexFailure as failure:  # writing pages fails for it, too
                log.warning("whose turn it is to list could not be written: %s", failure)
        listing.cancel()


def encoded(page: Sequence[Listed]) -> str:
    columns = [
        [each.key for each in page],
        [each.bytes for each in page],
        [each.modified.timestamp() for each in page],
        [each.version for each in page],
        [each.archived for each in page],
        [each.labels for each in page],
    ]
    return base64.b64encode(zlib.compress(json.dumps(columns).encode(), 1)).decode()


def decoded(page: str) -> list[Listed]:
    columns = json.loads(zlib.decompress(base64.b64decode(page)))
    return [
        Listed(key, size, datetime.fromtimestamp(modified, UTC), version, archived, labels)
        for key, size, modified, version, archived, labels in zip(*columns, strict=True)
    ]
