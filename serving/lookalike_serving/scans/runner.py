"""Begins scans, runs them, one at a time, oldest first, and continues those of a killed process.
Also begins those of a schedule, and knows the last scan of each collection.

A collection has one scan at a time, whoever asks for it. If replicas have recorded two all the
same, the newer one waits for the older one.

With an Edge index there is one process, so a scan that is RUNNING at the start is continued at
once. With a Qdrant server, several replicas share the records: a scan belongs to the replica whose
heartbeat it carries, and another one takes it over when that has stopped for a while. If two run
the same scan for a moment, they write the same records.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from lookalike_crds.config import CollectionConfig
from lookalike_crds.cron import SetSince
from lookalike_crds.image_collection import Engine
from lookalike_serving.books.record import Scope
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.indexes.hashes import can_compare
from lookalike_serving.problems import Problem
from lookalike_serving.scans.record import Order, Scan, ScanState
from lookalike_serving.scans.starting import begin, due
from lookalike_serving.scans.store import ScanStore
from lookalike_serving.scans.turns import LEASE, Turns
from lookalike_serving.service import Service
from lookalike_serving.together import woken

log = logging.getLogger("lookalike.scans")

_LOOK_SECONDS = 20.0
_AFTER_FAILURE_SECONDS = 5.0


async def scans_of(service: Service, collection: str) -> ScanStore:
    """Raises Problem 404 or 503."""
    config = service.collection(collection).config
    await service.books(collection)  # opens the place where the records are
    return ScanStore(lambda: service.books_index(config), Scope.of(config))


def _schedules(collections: Iterable[CollectionConfig]) -> dict[str, str]:
    """Collection -> its schedule."""
    return {
        config.name: config.duplicates.schedule
        for config in collections
        if config.duplicates is not None and config.duplicates.schedule is not None
    }


class ScanRunner:
    """Runs from `start` until `close`; `look` makes it look for work now."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._owner = uuid.uuid4().hex
        self._alone = service.config.batches_index.engine is Engine.EDGE
        self.turns = Turns(self._owner, alone=self._alone)
        self._beginning: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._wake = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._since = datetime.now(UTC)
        self._schedules = SetSince()
        self.ended: dict[str, Scan] = {}
        """The last scan that ended, by collection, as far as this process has seen."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """Scans that ended in this process, by collection and state."""

    def start(self) -> None:
        self._supervisor = asyncio.create_task(self._supervise(), name="duplicate scans")

    async def close(self) -> None:
        """A scan that is under way is continued by the next start."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor

    def look(self) -> None:
        self._wake.set()

    async def begin(self, order: Order, config: CollectionConfig, *, full: bool = False) -> Scan:
        """Record a scan, which then runs. Raises Problem 404, 409 (another one is active) and 503,
        and IndexFailure."""
        store = await scans_of(self._service, config.name)
        async with self._beginning[config.name]:
            begun = await begin(store, order, config, full=full)
        self.look()
        return begun

    async def _supervise(self) -> None:
        while True:
            self._wake.clear()
            try:
                if await self._run_one():
                    continue
            except (IndexFailure, Problem, OSError) as failure:
                # The record still says RUNNING, so the scan is continued.
                log.warning("duplicate scans wait: %s", failure)
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            except Exception:
                log.exception("duplicate scans wait")
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)
            await woken(self._wake, _LOOK_SECONDS)

    async def _run_one(self) -> bool:
        """Whether there was one."""
        collections = self._service.config.collections
        set_at = self._schedules.see(_schedules(collections), datetime.now(UTC))
        for config in collections:
            try:
                store = await scans_of(self._service, config.name)
                scans = await store.scans()
                now = datetime.now(UTC)
                planned = due(config, scans, self._since, now, set_at.get(config.name))
                if planned is not None and can_compare():
                    await self.begin(planned, config)
                    scans = await store.scans()
            except (IndexFailure, Problem):
                continue  # it is not open, or does not answer, and others may
            self._note(config.name, scans)
            now = datetime.now(UTC)
            scan = next_of(scans, self._owner, alone=self._alone, now=now)
            if scan is not None:
                # Imported here: OpenCV is needed for scans alone.
                from lookalike_serving.scans.run import ScanRun

                await ScanRun(scan, store, self._service, self._owner, self.turns).go()
                await store.drop_old()
                scans = await store.scans()
                self._note(config.name, scans)
                self._count(config.name, scans, scan.order.id)
                return True
        return False

    def _note(self, collection: str, scans: Sequence[Scan]) -> None:
        """Remember the last one that ended."""
        ended = [scan for scan in scans if not scan.state.active]
        if ended:
            self.ended[collection] = ended[0]

    def _count(self, collection: str, scans: Sequence[Scan], id: str) -> None:
        state = next((scan.state for scan in scans if scan.order.id == id), None)
        if state is not None and not state.active:
            self.counts[collection, state.value.lower()] += 1


def next_of(scans: Sequence[Scan], owner: str, *, alone: bool, now: datetime) -> Scan | None:
    """The scan of a collection that a process is to run: the oldest that is active, unless another
    process runs it. Pure.

    `scans`: the newest first. `alone`: there is no other process.
    """
    scan = next((scan for scan in reversed(scans) if scan.state.active), None)
    if scan is None:
        return None
    progress = scan.progress
    free = alone or progress.state is ScanState.QUEUED or progress.owner in (None, owner)
    killed = progress.heartbeat is None or now - progress.heartbeat > LEASE
    return scan if free or killed else None
