"""Qdrant Edge as an `Index`: Qdrant's engine on the files of one folder.

Why there is no thread pool: Edge 0.9 holds Python's interpreter lock through every call (measured:
a second thread runs at .2 % of its speed beside `update`, `count`, `scroll`, `load` and
`optimize`). So a thread would not let the event loop run any sooner, and would only add its
hand-over, about .1 ms to a query of .4 ms. Therefore a small shard is called directly on the event
loop, and a large one runs in a process of its own, which nothing else waits for
(`edge_process.py`). Long operations are split for both: writes, pages and batches into slices,
after each of which others have their turn. `optimize`, which cannot be split, runs on a copy in
another process (`edge_store.py`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookalike_crds.image_collection import FieldSpec, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.index.coalescing import Coalescing
from lookalike_serving.index.edge_counts import EdgeCounts
from lookalike_serving.index.edge_engine import ShardEngine, StoredPoint
from lookalike_serving.index.edge_store import SLICE, WRITE_SLICE, EdgeStore
from lookalike_serving.index.filters.ranges import End, within
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import (
    Choice,
    Extent,
    Hit,
    IndexInfo,
    IndexRefused,
    Page,
    Point,
    Query,
    Record,
    Spread,
    ValueCounts,
)
from lookalike_serving.index.spaces import CopySpace, checked_vectors
from lookalike_serving.index.values import checked_id, checked_payload

LOCK_WAIT_SECONDS = 10.0
_BATCH_SLICE = 32
"""Queries in one engine call: some 15 ms, in which no other is answered. Each call costs some of
its own: in slices of 16 a batch is 2 % slower, of 8 7 %."""
_ESTIMATED_FROM, _ESTIMATED_SHARE = 200_000, 0.01
"""A histogram of so many documents is estimated, a hundred times as fast, and wrong by up to 1 % of
them (measured: .06 % if values are spread evenly, 1 % if there are only a few). So a bucket that
seems to hold less is counted all the same, and none that is empty seems to hold something."""


class EdgeIndex:
    """An `Index` on one Edge shard. Make one with `open`; use it from one event loop."""

    def __init__(self, store: EdgeStore) -> None:
        self._store = store
        self._dimension = store.manifest.dimension
        self._copies = store.manifest.copies
        self._counts = EdgeCounts()
        self._asking = Coalescing(self._query, self._query_slice, _BATCH_SLICE)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        vector: VectorSpec | None,
        dimension: int | None,
        fingerprint: str | None,
        fields: tuple[FieldSpec, ...] | None = (),
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
        owner: IndexOwner | None = None,
        model: str | None = None,
        copies: CopySpace | None = None,
    ) -> EdgeIndex:
        """Open the index in `path`, or make it. `vector` and `dimension` None: payloads only.

        `copies`: vectors of a copy model, which it has beside the others.
        `owner` and `model`, in words, are written into it; `fields` None: its payload indexes stay
        as they are. Raises IndexMismatch if the folder's index is another's, or
        was made for another dimension, distance or model; IndexUnavailable where another process
        keeps it open; IndexFailure if its files cannot be read.
        """
        store = await EdgeStore.open(
            path,
            vector=vector,
            dimension=dimension,
            fingerprint=fingerprint,
            fields=fields,
            lock_wait_seconds=lock_wait_seconds,
            owner=owner,
            model=model,
            copies=copies,
        )
        return cls(store)

    # Writing

    async def upsert(self, points: Sequence[Point]) -> None:
        # All are checked before the first is written: a refused call changes nothing.
        checked: list[StoredPoint] = []
        for number, point in enumerate(points):
            id = checked_id(point.id)
            checked.append((id, self._vector(point, id), checked_payload(point.payload, id)))
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        for start in range(0, len(checked), WRITE_SLICE):
            part = checked[start : start + WRITE_SLICE]
            with self._counts.changing():
                await self._store.write([id for id, _, _ in part], ShardEngine.upsert, part)

    def _vector(self, point: Point, id: str) -> Any:
        if self._dimension is not None:
            return checked_vectors(point.vector, point.copies, self._dimension, self._copies, id)
        if point.vector is not None:
            raise IndexRefused(f"{id}: this index holds payloads only, no vectors")
        return {}

    async def merge_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        checked = checked_payload(payload, id)
        with self._counts.changing():
            await self._store.write([id], ShardEngine.merge_payload, id, checked)

    async def replace_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        checked = checked_payload(payload, id)
        with self._counts.changing():
            await self._store.write([id], ShardEngine.replace_payload, id, checked)

    async def delete(self, ids: Sequence[str]) -> None:
        checked = [checked_id(id) for id in ids]
        for start in range(0, len(checked), SLICE):
            with self._counts.changing():
                await self._store.delete(checked[start : start + SLICE])

    # Reading

    async def retrieve(
        self,
        ids: Sequence[str],
        *,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> list[Record]:
        checked = [checked_id(id) for id in ids]
        found: dict[str, Record] = {}
        for start in range(0, len(checked), SLICE):
            if start:
                await asyncio.sleep(0)
            part = await self._store.call(
                ShardEngine.retrieve, checked[start : start + SLICE], with_payload, with_vector
            )
            found.update((record.id, record) for record in part)
        return [found[id] for id in checked if id in found]

    async def scroll(
        self,
        *,
        filter: Filter | None = None,
        limit: int = 100,
        after: str | None = None,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> Page:
        if limit < 1:
            raise IndexRefused(f"limit is {limit}: ask for at least 1 point")
        # Edge's offset is the first id of the page that follows, so a page's `next` survives the
        # deletion of any point, that one too.
        next_id = None if after is None else checked_id(after)
        records: list[Record] = []
        while True:
            page = await self._store.call(
                ShardEngine.scroll,
                filter,
                min(SLICE, limit - len(records)),
                next_id,
                with_payload,
                with_vector,
            )
            records.extend(page.records)
            next_id = page.next
            if next_id is None or len(records) >= limit:
                return Page(tuple(records), next_id)
            await asyncio.sleep(0)

    async def count(self, filter: Filter | None = None) -> int:
        return await self._counts.told(
            ("count", filter), lambda: self._store.call(ShardEngine.count, filter)
        )

    async def query(self, query: Query) -> list[Hit]:
        if not query.of_copies:
            self._store.recent.append(query.vector)
        return await self._asking.ask(query)

    async def _query(self, query: Query) -> list[Hit]:
        return await self._store.call(ShardEngine.query, query)

    async def _query_slice(self, queries: Sequence[Query]) -> list[list[Hit]]:
        return await self._store.call(ShardEngine.query_batch, queries)

    async def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        answers: list[list[Hit]] = []
        for start in range(0, len(queries), _BATCH_SLICE):
            if start:
                await asyncio.sleep(0)
            answers += await self._query_slice(queries[start : start + _BATCH_SLICE])
        return answers

    async def facet(self, key: str, choice: Choice, filter: Filter | None = None) -> ValueCounts:
        return await self._counts.told(
            ("facet", key, choice, filter),
            lambda: self._store.call(ShardEngine.facet, key, choice, filter),
        )

    async def extent(self, key: str, filter: Filter | None = None) -> Extent:
        return await self._counts.told(
            ("extent", key, filter), lambda: self._store.call(ShardEngine.extent, key, filter)
        )

    async def spread(
        self, key: str, bounds: Sequence[End | None], filter: Filter | None = None
    ) -> Spread:
        points = await self.count()
        # Statistics know each field by itself: of two together they only guess.
        may_estimate = filter is None and points >= _ESTIMATED_FROM
        counts, exact = [], True
        for low, high in itertools.pairwise(bounds):
            bucket = within(key, low, high, filter)
            about = await self._estimate(bucket) if may_estimate else 0
            if about >= _ESTIMATED_SHARE * points > 0:
                counts.append(about)
                exact = False
            else:
                counts.append(await self.count(bucket))
        return Spread(tuple(counts), exact)

    async def _estimate(self, filter: Filter) -> int:
        return await self._counts.told(
            ("estimate", filter), lambda: self._store.call(ShardEngine.estimate, filter)
        )

    async def info(self) -> IndexInfo:
        state = await self._store.call(ShardEngine.state)
        return IndexInfo(
            points=state.points,
            indexed_vectors=state.indexed_vectors,
            dimension=self._dimension,
            distance=self._store.manifest.distance,
            payload_indexes=state.payload_indexes,
            status=self._store.status(state),
            tuning=state.tuning,
            former_types=self._store.manifest.former_types,
        )

    # Upkeep

    async def take_fields(self, fields: tuple[FieldSpec, ...]) -> None:
        """Continue with payload indexes of these fields, built over the stored documents."""
        with self._counts.changing():
            await self._store.take_fields(fields)

    async def optimize(self) -> None:
        """See edge_store.py. Queries and writes continue; returns at once if none is due."""
        await self._store.optimize()

    async def drop(self) -> None:
        await self._store.drop()

    async def close(self) -> None:
        """Release the folder. Closing twice is allowed."""
        await self._store.close()
