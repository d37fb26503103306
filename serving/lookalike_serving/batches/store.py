"""Batch records in the index engine: payload-only points, no second database.

Point ids carry the order (see record.py), so every read here is by id or in id order: none needs
a payload index or a filter, however many items there are.

An order is visible once `publish` has written it, after its items. What a process left behind that
ended in between is found by `unpublished` and removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from lookalike_serving.batches.codec import decode_batch, decode_item, encode
from lookalike_serving.batches.record import (
    Batch,
    Control,
    Item,
    Order,
    Progress,
    idempotency_point_id,
    is_batch_id,
    item_point_id,
)
from lookalike_serving.index.protocol import Index, Point

CHUNK = 256
"""The number of points of one read or write: a few hundred kilobytes."""


class BatchStore:
    """Reads and writes records. `index` is asked for at each use, since it may open late.

    Records of several services may be in one index. A batch belongs to the services that serve its
    collection; the others do not see it.

    Raises IndexFailure, and what `index` raises.
    """

    def __init__(
        self, index: Callable[[], Index], serves: Callable[[str], bool] = lambda collection: True
    ) -> None:
        self._index = index
        self._serves = serves

    async def reserve(self, order: Order) -> None:
        """Note that items of this batch are about to be written."""
        await self._index().upsert([Point(order.id, None, _batch_payload(order, None, None))])

    async def publish(self, order: Order, progress: Progress, key: str | None) -> None:
        """Make the batch visible to callers and to the runner; durable on return."""
        points = [Point(order.id, None, _batch_payload(order, Control(), progress))]
        if key is not None:
            id = idempotency_point_id(order.collection, key)
            points.append(Point(id, None, {"batch": order.id}))
        await self._index().upsert(points)

    async def batch(self, id: str) -> Batch | None:
        found = await self._index().retrieve([id]) if is_batch_id(id) else []
        if not found or "control" not in found[0].payload:
            return None
        batch = decode_batch(found[0].payload)
        return batch if self._serves(batch.order.collection) else None

    async def batch_of_key(self, collection: str, key: str) -> Batch | None:
        """The batch that was made with an Idempotency-Key."""
        found = await self._index().retrieve([idempotency_point_id(collection, key)])
        return await self.batch(found[0].payload["batch"]) if found else None

    async def batches(self, after: str | None = None) -> AsyncIterator[Batch]:
        """Every batch, newest first, from the one after the id `after`."""
        async for id, payload in self._batch_points(after):
            if id != after and "control" in payload:
                yield decode_batch(payload)

    async def unpublished(self) -> AsyncIterator[str]:
        """Ids of batches whose request never ended, or is still being read."""
        async for id, payload in self._batch_points(None):
            if "control" not in payload:
                yield id

    async def items(self, batch: str, start: int, stop: int) -> list[Item]:
        """The items at positions start to stop - 1, in order."""
        return await self.items_at(batch, range(start, stop))

    async def items_at(self, batch: str, positions: Sequence[int]) -> list[Item]:
        found: list[Item] = []
        for low in range(0, len(positions), CHUNK):
            ids = [item_point_id(batch, p) for p in positions[low : low + CHUNK]]
            found += [decode_item(r.payload) for r in await self._index().retrieve(ids)]
        return found

    async def save_items(self, items: Sequence[Item]) -> None:
        for low in range(0, len(items), CHUNK):
            chunk = items[low : low + CHUNK]
            points = [Point(item_point_id(i.batch, i.position), None, encode(i)) for i in chunk]
            await self._index().upsert(points)

    async def save_progress(self, batch: str, progress: Progress) -> None:
        await self._index().merge_payload(batch, {"progress": encode(progress)})

    async def save_control(self, batch: str, control: Control) -> None:
        await self._index().merge_payload(batch, {"control": encode(control)})

    async def delete(self, batch: str, items: int) -> None:
        """Remove a batch with its items. The record is removed last, so that deleting again
        completes a deletion that was killed."""
        for low in range(0, items, CHUNK):
            ids = [item_point_id(batch, p) for p in range(low, min(low + CHUNK, items))]
            await self._index().delete(ids)
        await self._index().delete([batch])

    async def _batch_points(self, after: str | None) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        while True:
            page = await self._index().scroll(limit=CHUNK, after=after)
            for record in page.records:
                if not is_batch_id(record.id):
                    return
                if self._serves(record.payload["order"]["collection"]):
                    yield record.id, record.payload
            if (after := page.next) is None:
                return


def _batch_payload(
    order: Order, control: Control | None, progress: Progress | None
) -> dict[str, Any]:
    payload: dict[str, Any] = {"order": encode(order)}
    if control is not None and progress is not None:
        payload |= {"control": encode(control), "progress": encode(progress)}
    return payload
