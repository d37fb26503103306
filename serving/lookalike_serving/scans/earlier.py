"""What an earlier scan of the collection knows of documents that have not changed since.

Both scans go through the documents in the order of their ids, so the earlier one is read along with
the new one, a page at a time, and never as a whole.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from lookalike_serving.scans.record import Keep, Order, Page, Pair, Scanned
from lookalike_serving.scans.store import ScanStore

_MARGIN = timedelta(hours=1)
"""Clocks differ, and a write may wait for its index for a while after its time was noted."""


class Known(NamedTuple):
    """A document as the earlier scan saw it."""

    document: Scanned
    number: int
    """In the earlier scan."""


class EarlierScan:
    """The scan that an order builds on; if there is none, every document is new."""

    def __init__(self, store: ScanStore, order: Order) -> None:
        self._store = store
        self._scan = order.basis
        self._keep = order.keep
        self.since: datetime | None = None
        """What was written later may have changed since; None: everything may have."""
        self._unreadable: set[int] = set()
        self._pairs: list[Pair] = []
        self._page: Page | None = None
        self._page_number = 0
        self._within = 0
        self._first = 0
        """Number, in the earlier scan, of the first document of the page."""
        self._now = array("q")
        """Number in the new scan, by that in the earlier one; -1 for what has gone or changed."""

    async def open(self) -> None:
        """Raises IndexFailure."""
        if self._scan is None:
            return
        async for checked in self._store.checked(self._scan):
            self._pairs += checked.pairs
            self._unreadable.update(checked.unreadable)
        scan = await self._store.scan(self._scan)
        if scan is not None and _looked_at_the_same(scan.order.keep, self._keep):
            self.since = (scan.progress.started_at or scan.order.created_at) - _MARGIN
        await self._next_page()

    async def find(self, points: Sequence[str]) -> list[Known | None]:
        """Of each document, whether the earlier scan saw it, and could read it. To be asked in the
        order of ids, once for each. Raises IndexFailure."""
        found: list[Known | None] = []
        for point in points:
            known = None
            while self._page is not None:
                if self._within == len(self._page.documents):
                    await self._next_page()
                    continue
                there = self._page.documents[self._within]
                if there.point > point:
                    break
                at = self._first + self._within
                self._within += 1
                self._now.append(-1)
                if there.point == point:
                    if there.hashes is not None and at not in self._unreadable:
                        known = Known(there, at)
                    break
            found.append(known)
        return found

    def keep(self, known: Known, number: int) -> None:
        """It has not changed, and has this number in the new scan."""
        self._now[known.number] = number

    async def resume(self, documents: Sequence[Scanned], first: int) -> None:
        """As these documents of the new scan were found by the process that recorded them; the
        first of them has the number `first`."""
        found = await self.find([each.point for each in documents])
        for number, (known, document) in enumerate(zip(found, documents, strict=True), first):
            if known is not None and known.document.version == document.version:
                self.keep(known, number)

    def pairs(self) -> list[Pair]:
        """What it found of documents that are unchanged, with their numbers in the new scan.

        If one has gone, and others with the same pixels are there, its pairs are those of the
        first of these.
        """
        now = [*self._now]
        now += [-1] * (1 + max((max(pair.key) for pair in self._pairs), default=0) - len(now))
        instead: dict[int, int] = {}
        for pair in self._pairs:
            first, other = pair.key
            if pair.evidence.get("content_hash") and now[first] < 0 <= now[other]:
                instead.setdefault(first, now[other])
        found: dict[tuple[int, int], Pair] = {}
        for pair in self._pairs:
            a, b = (n if (n := now[each]) >= 0 else instead.get(each, -1) for each in pair.key)
            if a < 0 or b < 0 or a == b:
                continue
            query, document = (a, b) if pair.query < pair.document else (b, a)
            moved = replace(pair, query=query, document=document)
            found.setdefault(moved.key, moved)
        return list(found.values())

    async def _next_page(self) -> None:
        if self._page is not None:
            self._first += len(self._page.documents)
            self._page_number += 1
        assert self._scan is not None
        self._page = await self._store.page(self._scan, self._page_number)
        self._within = 0


def _looked_at_the_same(earlier: Keep, now: Keep) -> bool:
    """Whether the earlier scan recorded the values by which keepers are chosen now."""
    return now.looks_at is None or now.looks_at == earlier.looks_at
