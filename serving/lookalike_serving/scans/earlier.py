"""What an earlier scan of the collection knows of documents that have not changed since.

Both scans go through the documents in the order of their ids, so the earlier one is read along with
the new one, a page at a time, and never as a whole.
"""

from __future__ import annotations

from array import array
from dataclasses import replace

from lookalike_serving.scans.record import Page, Pair, Scanned
from lookalike_serving.scans.store import ScanStore


class EarlierScan:
    """`scan`: its id; None if there is none, so that every document is new."""

    def __init__(self, store: ScanStore, scan: str | None) -> None:
        self._store = store
        self._scan = scan
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
        await self._next_page()

    async def knows(self, document: Scanned, number: int) -> Scanned | None:
        """What was known of this document, which has `number` in the new scan, if it is unchanged
        and could be read. To be asked in the order of ids, once for each. Raises IndexFailure."""
        while self._page is not None:
            if self._within == len(self._page.documents):
                await self._next_page()
                continue
            there = self._page.documents[self._within]
            if there.point > document.point:
                return None
            self._within += 1
            at = self._first + self._within - 1
            if there.point == document.point:
                same = there.version == document.version and there.hashes is not None
                if same and at not in self._unreadable:
                    self._now.append(number)
                    return there
            self._now.append(-1)
        return None

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
