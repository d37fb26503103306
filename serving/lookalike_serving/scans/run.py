"""Runs one scan from where it is to its end.

    documents, a page at a time -> hashes, neighbours     (reading.py)     recorded by the page
    all of them -> candidate pairs                        (candidates.py)  the same at every start
    candidates, some at a time -> compared -> pairs       (pictures.py)    recorded with them
    all pairs -> chains -> groups                         (groups.py)      recorded; complete

What a killed process had not recorded is done again, with the same result. Documents that have not
changed since an earlier scan keep its results (earlier.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from bisect import bisect_right
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from lookalike_crds.failures import APPLY_ACTIVE, INTERNAL
from lookalike_serving.copies.dismissals import dismissals_of
from lookalike_serving.documents.ids import point_id
from lookalike_serving.duplicates.thresholds import THRESHOLDS
from lookalike_serving.failures import kind_of, told
from lookalike_serving.images import ImageError
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.problems import Problem
from lookalike_serving.scans.apply import Choice, apply, tried
from lookalike_serving.scans.candidates import HashColumns, candidates
from lookalike_serving.scans.earlier import EarlierScan
from lookalike_serving.scans.groups import chains, grouped
from lookalike_serving.scans.pictures import Pictures
from lookalike_serving.scans.reading import Reading
from lookalike_serving.scans.record import (
    PICTURES,
    Checked,
    Group,
    Page,
    Pair,
    Scan,
    Scanned,
    ScanState,
)
from lookalike_serving.scans.store import ScanStore
from lookalike_serving.scans.turns import HeldTurn, Turns
from lookalike_serving.service import Service

log = logging.getLogger("lookalike.scans")

_BEAT_SECONDS = 5.0
_RATE_SECONDS = 30.0
_TURN_SECONDS = 2.0
_GROUPS = 100
"""Written at once."""


class ScanRun:
    """Runs one scan; `go` returns when it is complete, cancelled or has failed."""

    def __init__(
        self, scan: Scan, store: ScanStore, service: Service, owner: str, turns: Turns
    ) -> None:
        self._scan = scan
        self._store = store
        self._service = service
        self._turns = turns
        self._stopped = asyncio.Event()
        self._thresholds = THRESHOLDS[scan.order.sensitivity]
        self._pictures = Pictures(
            self._read, self._features_of, self._thresholds, service.config.fetch.max_pixels
        )
        self._earlier = EarlierScan(store, scan.order)
        self._starts: list[int] = []
        """Number of the first document of each page."""
        self._numbers: dict[str, int] = {}
        """Of documents, by point id."""
        self._pages: LRUCache[int, Page] = LRUCache(64)
        self._columns = HashColumns()
        self._fresh: list[int] = []
        self._near: list[tuple[int, str]] = []
        self._pairs: dict[tuple[int, int], Pair] = {}
        self._kept: list[Pair] = []
        """Of the pairs, those of an earlier scan."""
        self._dismissed: set[tuple[int, int]] = set()
        """Pairs of which a person has said that they are no duplicates."""
        self._unreadable: set[int] = set()
        self._times: deque[tuple[float, int]] = deque()
        self._beaten = 0.0
        self._progress = replace(
            scan.progress,
            state=ScanState.RUNNING,
            started_at=scan.progress.started_at or _now(),
            owner=owner,
            candidates=None,
            rate=None,
        )

    def stop(self) -> None:
        """End it soon, as cancelled."""
        self._stopped.set()

    async def go(self) -> None:
        """Raises IndexFailure, Problem and OSError, after which it may be run again."""
        try:
            if self._scan.control.cancelled:
                self.stop()
            await self._save()
            await self._all()
        except (IndexFailure, OSError, asyncio.CancelledError):
            raise
        except Exception as failure:
            kind = kind_of(failure)
            if isinstance(failure, Problem) and kind.retryable:
                raise
            if kind is INTERNAL:
                log.exception("scan %s failed unexpectedly", self._scan.order.id)
            await self._end(ScanState.FAILED, failure=told(failure), failure_code=kind.code)
        finally:
            self._pictures.close()

    async def _all(self) -> None:
        await self._read_all()
        if not self._stopped.is_set():
            await self._verify(await self._candidates())
        if not self._stopped.is_set():
            await self._group()
        if self._stopped.is_set():
            await self._end(ScanState.CANCELLED)

    # -- reading -----------------------------------------------------------------------------------

    async def _read_all(self) -> None:
        """All documents, from where an earlier process stopped."""
        order = self._scan.order
        state = self._service.collection(order.collection)
        tree = parse_filters(order.filters, state.config.fields)
        reading = Reading(order, state, tree, self._earlier, self._pictures)
        await self._earlier.open()
        await reading.open()
        after = await self._resume()
        if not self._starts:
            total = await state.index.count(tree)
            nearest = await reading.nearest_from(total)
            self._progress = replace(self._progress, total=total, nearest_from=nearest)
            await self._save()  # first of all: a killed scan continues with the same figure
        while after != "" and not self._stopped.is_set():
            number = len(self._starts)
            first = len(self._numbers)
            page = await reading.page(after, first, self._progress.nearest_from)
            await self._store.save_page(order.id, number, page)
            self._take(page)
            self._pages[number] = page
            after = page.next or ""
            self._count(done=len(self._numbers), unchanged=len(self._numbers) - len(self._fresh))
            await self._save()

    async def _resume(self) -> str | None:
        """Take over what was recorded; where to go on: None at the beginning, empty at the end."""
        after: str | None = None
        while (page := await self._store.page(self._scan.order.id, len(self._starts))) is not None:
            await self._earlier.resume(page.documents, len(self._numbers))
            self._take(page)
            after = page.next or ""
            await self._beat()
        self._count(done=len(self._numbers), unchanged=len(self._numbers) - len(self._fresh))
        return after

    def _take(self, page: Page) -> None:
        first = len(self._numbers)
        self._starts.append(first)
        for at, document in enumerate(page.documents):
            self._numbers[document.point] = first + at
            if not self._columns.add_stored(document.hashes):
                self._unreadable.add(first + at)
        self._fresh += [first + at for at in page.fresh]
        self._near += page.near

    # -- candidates and verdicts -------------------------------------------------------------------

    async def _candidates(self) -> NDArray[np.int64]:
        """(m, 2): pairs to verify; the same whenever the scan is continued."""
        near = [
            (number, self._numbers[point]) for number, point in self._near if point in self._numbers
        ]
        fresh = np.zeros(len(self._numbers), bool)
        fresh[self._fresh] = True
        working = asyncio.ensure_future(
            self._pictures.in_thread(candidates, self._columns, near, fresh, self._thresholds.pdq)
        )
        while not working.done():
            await asyncio.wait([working], timeout=_BEAT_SECONDS)
            await self._beat()
        found = working.result()
        self._kept = self._earlier.pairs()
        for pair in self._kept:
            self._pairs[pair.key] = pair
        await self._read_dismissals()
        self._times.clear()
        self._count(candidates=len(found))
        return found

    async def _read_dismissals(self) -> None:
        """Those that hold: of documents that have the image that was looked at."""
        collection = self._scan.order.collection
        async for each in (await dismissals_of(self._service, collection)).all():
            numbers = [self._numbers.get(point_id(collection, id)) for id in each.documents]
            if len(numbers) < 2 or (a := numbers[0]) is None or (b := numbers[1]) is None:
                continue
            if ((await self._row(a)).picture, (await self._row(b)).picture) == each.images:
                self._dismissed.add((min(a, b), max(a, b)))

    async def _verify(self, found: NDArray[np.int64]) -> None:
        """The verdict on each candidate that has none yet."""
        id = self._scan.order.id
        recorded = [checked async for checked in self._store.checked(id)]
        for number, start in enumerate(range(0, len(found), PICTURES)):
            if number < len(recorded):
                checked = recorded[number]
            else:
                checked = await self._checked(found[start : start + PICTURES])
                await self._store.save_checked(id, number, checked)
            for pair in checked.pairs:
                self._pairs[pair.key] = pair
            self._unreadable.update(checked.unreadable)
            self._count(compared=min(start + PICTURES, len(found)))
            await self._beat()
            if self._stopped.is_set():
                return
        number = -(-len(found) // PICTURES)
        # So that the next scan finds them after what this one has checked.
        for start in range(0, len(self._kept), PICTURES):
            some = Checked(tuple(self._kept[start : start + PICTURES]))
            await self._store.save_checked(id, number, some)
            number += 1

    async def _checked(self, some: NDArray[np.int64]) -> Checked:
        pairs: list[Pair] = []
        unreadable: set[int] = set()
        for a, b in some.tolist():
            try:
                pair = await self._pictures.compared(
                    (a, await self._row(a)), (b, await self._row(b))
                )
            except ImageError as error:
                log.info("documents %d and %d of a scan were not compared: %s", a, b, error)
                unreadable.update((a, b))
                continue
            if pair is not None:
                pairs.append(pair)
        return Checked(tuple(pairs), tuple(sorted(unreadable)))

    async def _compared(self, a: int, b: int) -> Pair | None:
        """None as well if one of them can no longer be read, and if a person has said so."""
        await self._beat()
        if (min(a, b), max(a, b)) in self._dismissed:
            return None
        try:
            return await self._pictures.compared((a, await self._row(a)), (b, await self._row(b)))
        except ImageError:
            return None

    async def _row(self, number: int) -> Scanned:
        at = bisect_right(self._starts, number) - 1
        page = self._pages.get(at)
        if page is None:
            page = await self._store.page(self._scan.order.id, at)
            assert page is not None  # it was written before this one was begun
            self._pages[at] = page
        return page.documents[number - self._starts[at]]

    async def _read(self, address: str) -> bytes:
        data, _ = await self._service.images.get(address)
        return data

    async def _features_of(self, document: Scanned) -> str | None:
        books = await self._service.books(self._scan.order.collection)
        return await books.features_of(document.point, document.picture)

    # -- groups ------------------------------------------------------------------------------------

    async def _group(self) -> None:
        waiting: list[Group] = []
        number = duplicates = size = 0
        digest = hashlib.sha256()
        pairs = {key: pair for key, pair in self._pairs.items() if key not in self._dismissed}
        for chain in chains(pairs.values()):
            documents = {each: await self._row(each) for each in chain}
            found = grouped(chain, documents, pairs, self._scan.order.keep, self._compared, number)
            async for group in found:
                waiting.append(group)
                number += 1
                duplicates += len(group.members)
                size += sum(each.document.bytes for each in group.members)
                digest.update(_named(group))
                if len(waiting) >= _GROUPS:
                    await self._store.save_groups(self._scan.order.id, waiting)
                    waiting = []
            await self._beat()
            if self._stopped.is_set():
                return
        if waiting:
            await self._store.save_groups(self._scan.order.id, waiting)
        self._progress = replace(self._progress, groups=number, duplicates=duplicates, bytes=size)
        await self._delete()
        await self._save()  # looks once more whether it was cancelled
        if not self._stopped.is_set():
            await self._end(ScanState.COMPLETED, report=digest.hexdigest()[:16])

    async def _delete(self) -> None:
        """Delete the duplicates that the spec says, after a dry run. If this is done again by the
        process that continues a killed one, nothing is deleted twice."""
        order = self._scan.order
        if not order.delete:
            return
        while not self._stopped.is_set():
            try:
                async with self._turns.turn(self._store, order.collection, order.id) as held:
                    await self._delete_all(held, Choice(order.delete))
                    return
            except Problem as problem:
                if problem.failure_kind is not APPLY_ACTIVE:
                    raise
            await asyncio.sleep(_TURN_SECONDS)
            await self._beat()

    async def _delete_all(self, held: HeldTurn, choice: Choice) -> None:
        order = self._scan.order
        would = await tried(self._service, order.collection, self._store, order.id, choice)
        log.info(
            "duplicate scan %s of %s: %d documents are to be deleted, %d are left",
            order.id,
            order.collection,
            would.deleted,
            would.left,
        )

        async def go_on() -> bool:
            await held.renew()
            await self._beat()
            return not self._stopped.is_set()

        gone = 0
        while True:
            done = await apply(
                self._service, order.collection, self._store, order.id, choice, go_on
            )
            gone += done.deleted
            ends = not done.more or self._stopped.is_set()
            self._progress = replace(self._progress, deleted=gone + (done.gone if ends else 0))
            if ends:
                return

    # -- records -----------------------------------------------------------------------------------

    def _count(self, **more: Any) -> None:
        self._progress = replace(
            self._progress,
            pairs=len(self._pairs),
            unreadable=len(self._unreadable),
            **more,
        )
        known = self._progress.candidates is not None
        count = self._progress.compared if known else self._progress.done
        self._times.append((time.monotonic(), count))

    async def _beat(self) -> None:
        """Say from time to time that the process is alive, and look whether to stop."""
        if time.monotonic() - self._beaten >= _BEAT_SECONDS:
            await self._save()

    async def _save(self) -> None:
        self._beaten = time.monotonic()
        self._progress = replace(self._progress, heartbeat=_now(), rate=self._rate())
        await self._store.save_progress(self._scan.order.id, self._progress)
        current = await self._store.scan(self._scan.order.id)
        if current is None or current.control.cancelled:
            self._stopped.set()

    async def _end(self, state: ScanState, **more: Any) -> None:
        self._progress = replace(
            self._progress, state=state, finished_at=_now(), rate=None, owner=None, **more
        )
        await self._store.save_progress(self._scan.order.id, self._progress)
        log.info(
            "duplicate scan %s of %s: %s, %d documents, %d groups",
            self._scan.order.id,
            self._scan.order.collection,
            state,
            self._progress.done,
            self._progress.groups,
        )

    def _rate(self) -> float | None:
        """Documents per second."""
        while len(self._times) > 2 and self._times[0][0] < time.monotonic() - _RATE_SECONDS:
            self._times.popleft()
        if len(self._times) < 2:
            return None
        (began, before), (now, done) = self._times[0], self._times[-1]
        return (done - before) / max(1e-6, now - began)


def _named(group: Group) -> bytes:
    told = [group.keeper.document_id, group.keeper.version]
    told += [part for m in group.members for part in (m.document.document_id, m.document.version)]
    return json.dumps(told).encode()


def _now() -> datetime:
    return datetime.now(UTC)
