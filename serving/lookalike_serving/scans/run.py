"""Runs one scan from where it is to its end.

    documents, a page at a time -> hashes -> candidates -> compared -> pairs, recorded by the page
    all pairs -> chains -> groups, recorded; then the scan is complete

A document is compared with those before it that may show the same picture: those with equal pixels,
those with a hash near one of its own in any position, and its neighbours by embedding. A neighbour
that comes later is remembered, and is compared when its turn comes. What a killed process had not
recorded is done again, with the same result.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from cachetools import LRUCache

from lookalike_crds.failures import INTERNAL
from lookalike_serving.documents.stored import read_record
from lookalike_serving.duplicates.compare import Picture
from lookalike_serving.duplicates.hamming import HammingIndex
from lookalike_serving.duplicates.hashes import Hashes
from lookalike_serving.duplicates.thresholds import THRESHOLDS
from lookalike_serving.duplicates.verdicts import Sensitivity
from lookalike_serving.failures import kind_of, told
from lookalike_serving.images import ImageError
from lookalike_serving.index.facets import value_at
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import Index, IndexFailure, Query, Record
from lookalike_serving.problems import Problem
from lookalike_serving.scans.apply import version_of
from lookalike_serving.scans.groups import chains, grouped
from lookalike_serving.scans.pictures import Pictures
from lookalike_serving.scans.record import (
    PAGE,
    Group,
    Page,
    Pair,
    Rule,
    Scan,
    Scanned,
    ScanState,
)
from lookalike_serving.scans.store import ScanStore
from lookalike_serving.service import Service

log = logging.getLogger("lookalike.scans")

_NEIGHBOURS = {Sensitivity.STRICT: 3, Sensitivity.BALANCED: 4, Sensitivity.LOOSE: 8}
"""By embedding. A group of more documents hangs together all the same, and its members are compared
with the keeper in the end."""
_MOST_CANDIDATES = 50
"""Nearest hashes that a document is compared with."""
_BEAT_SECONDS = 5.0
_RATE_SECONDS = 30.0
_GROUPS = 100
"""Written at once."""


class ScanRun:
    """Runs one scan; `go` returns when it is complete, cancelled or has failed."""

    def __init__(self, scan: Scan, store: ScanStore, service: Service, owner: str) -> None:
        self._scan = scan
        self._store = store
        self._service = service
        self._stopped = asyncio.Event()
        order = scan.order
        self._thresholds = THRESHOLDS[order.sensitivity]
        policy = service.config.fetch
        self._pictures = Pictures(self._read, self._thresholds, policy.max_pixels)
        self._starts: list[int] = []
        """Number of the first document of each page."""
        self._numbers: dict[str, int] = {}
        """Of documents, by point id."""
        self._pages: LRUCache[int, Page] = LRUCache(64)
        self._near: HammingIndex[int] = HammingIndex(4)
        self._equal: dict[bytes, int] = {}
        """The first document with these pixels."""
        self._later: defaultdict[str, list[int]] = defaultdict(list)
        self._pairs: dict[tuple[int, int], Pair] = {}
        self._current: list[Scanned] = []
        self._times: deque[tuple[float, int]] = deque()
        self._beaten = 0.0
        self._progress = replace(
            scan.progress,
            state=ScanState.RUNNING,
            started_at=scan.progress.started_at or _now(),
            owner=owner,
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
        state = self._service.collection(self._scan.order.collection)
        tree = parse_filters(self._scan.order.filters, state.config.fields)
        after = await self._resume()
        if not self._starts:
            self._progress = replace(self._progress, total=await state.index.count(tree))
        while after != "" and not self._stopped.is_set():
            after = await self._one_page(state.index, tree, after) or ""
        if not self._stopped.is_set():
            await self._group()
        if self._stopped.is_set():
            await self._end(ScanState.CANCELLED)

    # -- pages -------------------------------------------------------------------------------------

    async def _resume(self) -> str | None:
        """Take over what was recorded; where to go on: None at the beginning, empty at the end."""
        after: str | None = None
        done = unreadable = 0
        while (page := await self._store.page(self._scan.order.id, len(self._starts))) is not None:
            for document in page.documents:
                self._know(done, document)
                done += 1
                unreadable += document.hashes is None
            self._starts.append(done - len(page.documents))
            self._note(page)
            after = page.next or ""
        self._progress = replace(
            self._progress, done=done, unreadable=unreadable, pairs=len(self._pairs)
        )
        return after

    async def _one_page(self, index: Index, tree: Filter | None, after: str | None) -> str | None:
        """Compare the documents of a page with those before them; where the next begins."""
        found = await index.scroll(filter=tree, limit=PAGE, after=after, with_vector=True)
        neighbours = await self._neighbours(index, tree, found.records)
        first = self._progress.done
        self._current = []
        self._starts.append(first)
        pairs: list[Pair] = []
        later: list[tuple[str, int]] = []
        for record in found.records:
            scanned = self._scanned(record)
            if scanned is None:
                continue
            number = first + len(self._current)
            candidates = {*self._later.pop(record.id, ())}
            for each in neighbours[record.id]:
                if each in self._numbers:
                    candidates.add(self._numbers[each])
                elif each > record.id:
                    later.append((each, number))
                    self._later[each].append(number)
            pairs += await self._document(number, scanned, candidates)
            await self._beat()
        page = Page(tuple(self._current), tuple(pairs), tuple(later), found.next)
        await self._store.save_page(self._scan.order.id, len(self._starts) - 1, page)
        for pair in pairs:
            self._pairs[pair.key] = pair
        self._pages[len(self._starts) - 1] = page
        self._progress = replace(
            self._progress, done=first + len(page.documents), pairs=len(self._pairs)
        )
        self._times.append((time.monotonic(), self._progress.done))
        await self._save()
        return found.next

    async def _document(self, number: int, scanned: Scanned, candidates: set[int]) -> list[Pair]:
        """Compare one document with those before it."""
        try:
            picture = await self._pictures.picture(scanned)
        except ImageError as error:
            log.info("%s of a scan cannot be read: %s", scanned.document_id, error)
            self._progress = replace(self._progress, unreadable=self._progress.unreadable + 1)
            self._current.append(scanned)
            self._numbers[scanned.point] = number
            return []
        scanned = replace(
            scanned,
            hashes=picture.hashes.stored(),
            width=picture.width,
            height=picture.height,
        )
        equal = self._equal.get(picture.hashes.content)
        if equal is None:
            candidates |= set(await self._pictures.in_thread(self._by_hash, picture))
        else:
            candidates.add(equal)
        self._current.append(scanned)
        self._know(number, scanned)
        pairs = []
        for other in sorted(candidates - {number}):
            pair = await self._compared(number, other)
            if pair is not None:
                pairs.append(pair)
        return pairs

    def _by_hash(self, picture: Picture) -> list[int]:
        asked = [variant.pdq for variant in picture.variants]
        if not asked:
            return []
        found = self._near.search(np.stack(asked), self._thresholds.pdq)
        return [each.key for each in found[:_MOST_CANDIDATES]]

    async def _compared(self, a: int, b: int) -> Pair | None:
        """None as well if one of them can no longer be read."""
        try:
            return await self._pictures.compared((a, await self._row(a)), (b, await self._row(b)))
        except ImageError:
            return None

    async def _row(self, number: int) -> Scanned:
        at = bisect_right(self._starts, number) - 1
        within = number - self._starts[at]
        if at == len(self._starts) - 1 and within < len(self._current):
            return self._current[within]
        page = self._pages.get(at)
        if page is None:
            page = await self._store.page(self._scan.order.id, at)
            assert page is not None  # it was written before this one was begun
            self._pages[at] = page
        return page.documents[within]

    def _know(self, number: int, document: Scanned) -> None:
        self._numbers[document.point] = number
        hashes = Hashes.read(document.hashes)
        if hashes is None:
            return
        first = self._equal.setdefault(hashes.content, number)
        # Of many with the same pixels, one stands for all.
        if first == number and not hashes.flat:
            self._near.put(number, [hashes.pdq, hashes.middle_pdq])

    def _note(self, page: Page) -> None:
        for pair in page.pairs:
            self._pairs[pair.key] = pair
        for point, number in page.later:
            if point not in self._numbers:
                self._later[point].append(number)

    async def _neighbours(
        self, index: Index, tree: Filter | None, records: tuple[Record, ...]
    ) -> Mapping[str, list[str]]:
        """Point ids of the nearest documents of each."""
        most = _NEIGHBOURS[self._scan.order.sensitivity]
        asked = [each for each in records if each.vector is not None]
        queries = [
            Query(each.vector, most + 1, filter=tree, with_payload=False)
            for each in asked
            if each.vector is not None
        ]
        found = await index.query_batch(queries) if queries else []
        near: defaultdict[str, list[str]] = defaultdict(list)
        for record, hits in zip(asked, found, strict=True):
            near[record.id] = [hit.id for hit in hits if hit.id != record.id]
        return near

    def _scanned(self, record: Record) -> Scanned | None:
        """None for what is no document."""
        found = read_record(record)
        if found is None:
            return None
        origin, keep = found.origin, self._scan.order.keep
        value = _value(found.metadata, keep.field) if keep.rule is Rule.FIELD else None
        return Scanned(
            point=record.id,
            document_id=origin.document_id,
            version=version_of(origin),
            image=origin.image,
            width=origin.width or 0,
            height=origin.height or 0,
            bytes=origin.bytes or 0,
            created_at=origin.created_at or "",
            value=value,
        )

    async def _read(self, address: str) -> bytes:
        data, _ = await self._service.images.get(address)
        return data

    # -- groups ------------------------------------------------------------------------------------

    async def _group(self) -> None:
        self._current = []
        waiting: list[Group] = []
        number = duplicates = size = 0
        digest = hashlib.sha256()
        for chain in chains(self._pairs.values()):
            documents = {each: await self._row(each) for each in chain}
            found = grouped(
                chain, documents, self._pairs, self._scan.order.keep, self._compared, number
            )
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
        report = digest.hexdigest()[:16]
        await self._end(
            ScanState.COMPLETED, groups=number, duplicates=duplicates, bytes=size, report=report
        )

    # -- records -----------------------------------------------------------------------------------

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


def _value(metadata: Mapping[str, Any], field: str | None) -> Any:
    found = value_at(metadata, field or "")
    return found if isinstance(found, bool | int | float | str) else None


def _named(group: Group) -> bytes:
    told = [group.keeper.document_id, group.keeper.version]
    told += [part for m in group.members for part in (m.document.document_id, m.document.version)]
    return json.dumps(told).encode()


def _now() -> datetime:
    return datetime.now(UTC)
