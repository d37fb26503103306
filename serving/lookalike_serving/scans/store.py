"""Records of scans, next to the other records of their collection. Every write may be repeated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from lookalike_serving.books.record import Kind, Scope
from lookalike_serving.books.store import records_of
from lookalike_serving.index.protocol import Point, PointStore
from lookalike_serving.scans.record import (
    Checked,
    Control,
    Group,
    Order,
    Page,
    Progress,
    Scan,
    Turn,
    decode_checked,
    decode_control,
    decode_group,
    decode_order,
    decode_page,
    decode_progress,
    decode_turn,
    encode,
)

KEPT = 20
"""Scans of a collection."""
_CHUNK = 100


class ScanStore:
    """Scans of one collection. `index` is asked for at each use, since it may open late.

    Raises IndexFailure, and what `index` raises.
    """

    def __init__(self, index: Callable[[], PointStore], scope: Scope) -> None:
        self._index = index
        self._scope = scope

    async def create(self, order: Order) -> Scan:
        scan = Scan(order, Control(), Progress())
        payload = {
            "order": encode(order),
            "control": encode(scan.control),
            "progress": encode(scan.progress),
        }
        await self._index().upsert([Point(self._id(order.id), None, payload)])
        return scan

    async def scan(self, id: str) -> Scan | None:
        found = await self._index().retrieve([self._id(id)])
        return _scan(found[0].payload) if found else None

    async def scans(self) -> list[Scan]:
        """The newest first."""
        records = records_of(self._index(), self._scope, Kind.SCAN)
        found = [_scan(payload) async for _, payload in records]
        return sorted(found, key=lambda scan: (scan.order.created_at, scan.order.id), reverse=True)

    async def save_progress(self, id: str, progress: Progress) -> None:
        await self._index().merge_payload(self._id(id), {"progress": encode(progress)})

    async def save_control(self, id: str, control: Control) -> None:
        await self._index().merge_payload(self._id(id), {"control": encode(control)})

    async def save_turn(self, id: str, turn: Turn | None) -> None:
        told = None if turn is None else encode(turn)
        await self._index().merge_payload(self._id(id), {"turn": told})

    async def page(self, id: str, number: int) -> Page | None:
        found = await self._index().retrieve([self._part(id, "page", number)])
        return decode_page(found[0].payload["page"]) if found else None

    async def save_page(self, id: str, number: int, page: Page) -> None:
        point = Point(self._part(id, "page", number), None, {"page": encode(page)})
        await self._write([point])

    async def checked(self, id: str) -> AsyncIterator[Checked]:
        """What is recorded of the candidates of a scan, in order."""
        number = 0
        while True:
            ids = [self._part(id, "checked", n) for n in range(number, number + _CHUNK)]
            found = await self._index().retrieve(ids)
            for each in found:
                yield decode_checked(each.payload["checked"])
            if len(found) < _CHUNK:
                return
            number += _CHUNK

    async def save_checked(self, id: str, number: int, checked: Checked) -> None:
        point = Point(self._part(id, "checked", number), None, {"checked": encode(checked)})
        await self._write([point])

    async def save_groups(self, id: str, groups: list[Group]) -> None:
        points = [
            Point(self._part(id, "group", g.number), None, {"group": encode(g)}) for g in groups
        ]
        await self._write(points)

    async def groups(self, id: str, first: int, limit: int) -> list[Group]:
        """Those with the numbers from `first` on, in order."""
        ids = [self._part(id, "group", number) for number in range(first, first + limit)]
        return [decode_group(each.payload["group"]) for each in await self._index().retrieve(ids)]

    async def all_groups(self, id: str) -> AsyncIterator[Group]:
        first = 0
        while some := await self.groups(id, first, _CHUNK):
            for group in some:
                yield group
            first += _CHUNK

    async def decided(self, id: str, groups: Sequence[int]) -> dict[int, dict[str, str]]:
        """What a person has decided about the documents of some groups: by the number of the group,
        then by document id."""
        ids = {self._part(id, "decided", number): number for number in groups}
        found = await self._index().retrieve(list(ids)) if ids else []
        return {ids[each.id]: json.loads(each.payload["decided"]) for each in found}

    async def save_decided(self, id: str, number: int, decided: dict[str, str]) -> None:
        """All of a group."""
        payload = {"decided": json.dumps(decided)}
        await self._index().upsert([Point(self._part(id, "decided", number), None, payload)])

    async def drop_old(self) -> None:
        """Keep the last `KEPT`, and those that have not ended."""
        for scan in (await self.scans())[KEPT:]:
            if not scan.state.active:
                await self.drop(scan.order.id)

    async def drop(self, id: str) -> None:
        """The record goes last, so that dropping again completes what was killed."""
        for kind in ("page", "checked", "group"):
            number = 0
            while True:
                ids = [self._part(id, kind, n) for n in range(number, number + _CHUNK)]
                if not await self._index().retrieve(ids, with_payload=False):
                    break
                await self._index().delete(ids)
                if kind == "group":
                    decided = range(number, number + _CHUNK)
                    await self._index().delete([self._part(id, "decided", n) for n in decided])
                number += _CHUNK
        await self._index().delete([self._id(id)])

    async def _write(self, points: Sequence[Point]) -> None:
        await self._index().upsert(points)

    def _id(self, id: str) -> str:
        return self._scope.id(Kind.SCAN, id)

    def _part(self, id: str, kind: str, number: int) -> str:
        return self._scope.id(Kind.SCAN_PART, id, kind, str(number))


def _scan(payload: dict[str, Any]) -> Scan:
    return Scan(
        decode_order(payload["order"]),
        decode_control(payload["control"]),
        decode_progress(payload["progress"]),
        decode_turn(payload["turn"]) if payload.get("turn") else None,
    )
