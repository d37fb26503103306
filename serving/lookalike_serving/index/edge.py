"""Qdrant Edge as an `Index`: Qdrant's engine in this process, its files in one folder.

Why no thread pool. Edge 0.9 holds Python's interpreter lock through every call (measured: a
second thread runs at .2 % of its speed beside `update`, `count`, `scroll`, `load` and
`optimize`), so a thread would not let the event loop run any sooner; it would only add its
hand-over, about .1 ms to a query of .4 ms. Calls are made directly on the event loop, and what
can be long is cut: writes, pages and batches into slices, after each of which other coroutines
have their turn. `optimize`, which cannot be cut, runs in another process (`edge_store.py`).
What remains long are exact queries, and filters on fields without an index, over very many points.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from lookalike_crds.image_collection import Distance, FieldSpec, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.index import edge_settings
from lookalike_serving.index.edge_filters import compile_filter
from lookalike_serving.index.edge_shard import failure_of, translated
from lookalike_serving.index.edge_store import SLICE, EdgeStore
from lookalike_serving.index.filters import Filter
from lookalike_serving.index.predicates import json_path
from lookalike_serving.index.protocol import (
    Hit,
    IndexInfo,
    IndexRefused,
    Page,
    Point,
    Query,
    Record,
)
from lookalike_serving.index.scores import engine_threshold, score_of
from lookalike_serving.index.tuning import oversampling
from lookalike_serving.index.values import checked_id, checked_payload, checked_vector

LOCK_WAIT_SECONDS = 10.0
_BATCH_SLICE = 32
"""Queries in one engine call: some 15 ms, in which nothing else is served. Each call costs some of
its own: in slices of 16 a batch is 2 % slower, of 8 7 %."""


class EdgeIndex:
    """An `Index` on one Edge shard. Make one with `open`; use it from one event loop."""

    def __init__(
        self, store: EdgeStore, vector: VectorSpec | None, fields: tuple[FieldSpec, ...]
    ) -> None:
        self._store = store
        self._fields = fields
        self._dimension = store.manifest.dimension
        self._distance = Distance(store.manifest.distance or Distance.COSINE)
        self._oversampling = oversampling(vector)
        self._tuned = self._params(None, exact=False)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        vector: VectorSpec | None,
        dimension: int | None,
        fingerprint: str | None,
        fields: tuple[FieldSpec, ...] = (),
        lock_wait_seconds: float = LOCK_WAIT_SECONDS,
        owner: IndexOwner | None = None,
    ) -> EdgeIndex:
        """Open the index in `path`, or make it. `vector` and `dimension` None: payloads only.

        `owner` is written into it. Raises IndexMismatch where the folder's index is another's, or
        was made for another dimension, distance or model; IndexUnavailable where another process
        keeps it open; IndexFailure where its files cannot be read.
        """
        store = await EdgeStore.open(
            path,
            vector=vector,
            dimension=dimension,
            fingerprint=fingerprint,
            fields=fields,
            lock_wait_seconds=lock_wait_seconds,
            owner=owner,
        )
        return cls(store, vector, fields)

    # Writing

    async def upsert(self, points: Sequence[Point]) -> None:
        ids: list[Any] = []
        checked: list[edge.Point] = []
        # All are checked before the first is written: a refused call changes nothing.
        for number, point in enumerate(points):
            id = checked_id(point.id)
            ids.append(id)
            checked.append(
                edge.Point(id, self._vector(point, id), checked_payload(point.payload, id))
            )
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        for start in range(0, len(checked), SLICE):
            end = start + SLICE
            await self._store.write(
                edge.UpdateOperation.upsert_points(checked[start:end]), ids[start:end]
            )

    def _vector(self, point: Point, id: str) -> Any:
        if self._dimension is not None:
            return checked_vector(point.vector, self._dimension, f"the vector of {id}")
        if point.vector is not None:
            raise IndexRefused(f"{id}: this index holds payloads only, no vectors")
        return {}

    async def merge_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        operation = edge.UpdateOperation.set_payload([id], checked_payload(payload, id))
        await self._store.write(operation, [id], existing=True)

    async def replace_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        operation = edge.UpdateOperation.overwrite_payload([id], checked_payload(payload, id))
        await self._store.write(operation, [id], existing=True)

    async def delete(self, ids: Sequence[str]) -> None:
        checked = [checked_id(id) for id in ids]
        for start in range(0, len(checked), SLICE):
            await self._store.delete(checked[start : start + SLICE])

    # Reading

    async def retrieve(
        self,
        ids: Sequence[str],
        *,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> list[Record]:
        checked: list[Any] = [checked_id(id) for id in ids]
        wanted = _payload_selector(with_payload)
        found: dict[str, Record] = {}
        for start in range(0, len(checked), SLICE):
            if start:
                await asyncio.sleep(0)
            with translated(f"reading the index in {self._store.path}"):
                part = self._store.shard.retrieve(
                    checked[start : start + SLICE], wanted, with_vector
                )
            found.update((str(record.id), _record(record, with_vector)) for record in part)
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
        compiled = self._compiled(filter)
        wanted = _payload_selector(with_payload)
        records: list[Record] = []
        while True:
            request = edge.ScrollRequest(
                offset=next_id,
                limit=min(SLICE, limit - len(records)),
                filter=compiled,
                with_payload=wanted,
                with_vector=with_vector,
            )
            with translated(f"reading the index in {self._store.path}"):
                part, offset = self._store.shard.scroll(request)
            records.extend(_record(record, with_vector) for record in part)
            next_id = None if offset is None else str(offset)
            if next_id is None or len(records) >= limit:
                return Page(tuple(records), next_id)
            await asyncio.sleep(0)

    async def count(self, filter: Filter | None = None) -> int:
        request = edge.CountRequest(exact=True, filter=self._compiled(filter))
        with translated(f"counting in the index in {self._store.path}"):
            return self._store.shard.count(request)

    async def query(self, query: Query) -> list[Hit]:
        request = self._request(query)
        if request is None:
            return []
        # Not `with translated`: what Python does here counts among a few hundred microseconds,
        # the more so as it runs with the CPU's caches full of vectors.
        try:
            return self._hits(self._store.shard.query(request), query)
        except BaseException as error:
            failure = failure_of(error, f"searching the index in {self._store.path}")
            if failure is error:
                raise
            raise failure from error

    async def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        answers: list[list[Hit]] = [[] for _ in queries]
        asked = [
            (number, query, request)
            for number, query in enumerate(queries)
            if (request := self._request(query)) is not None
        ]
        for start in range(0, len(asked), _BATCH_SLICE):
            if start:
                await asyncio.sleep(0)
            part = asked[start : start + _BATCH_SLICE]
            batch = edge.QueryBatchRequest([request for _, _, request in part])
            with translated(f"searching the index in {self._store.path}"):
                found = self._store.shard.query_batch(batch)
            for (number, query, _), points in zip(part, found, strict=True):
                answers[number] = self._hits(points, query)
        return answers

    def _request(self, query: Query) -> edge.QueryRequest | None:
        """The engine's request; None where the answer is known to be empty."""
        vector = checked_vector(query.vector, self._dimension, "the query vector")
        if query.limit < 1 or query.offset < 0:
            if query.limit == 0:
                return None
            raise IndexRefused(
                f"limit {query.limit} and offset {query.offset} must not be negative"
            )
        min_score = query.min_score
        if min_score is not None:
            if min_score > 1 and self._distance is Distance.EUCLID:
                return None
            min_score = engine_threshold(self._distance, min_score)
        usual = query.ef is None and not query.exact
        return edge.QueryRequest(
            query.limit,
            query.offset,
            edge.Query.Nearest(vector),
            with_vector=query.with_vector,
            with_payload=_payload_selector(query.with_payload),
            filter=None if query.filter is None else self._compiled(query.filter),
            score_threshold=min_score,
            params=self._tuned if usual else self._params(query.ef, query.exact),
        )

    def _params(self, ef: int | None, exact: bool) -> edge.SearchParams:
        return edge_settings.search_params(ef, exact, self._oversampling)

    def _hits(self, points: list[edge.ScoredPoint], query: Query) -> list[Hit]:
        if self._distance is not Distance.EUCLID and not query.with_vector:
            if query.with_payload:
                return [Hit(str(p.id), p.score, p.payload or {}) for p in points]
            return [Hit(str(p.id), p.score) for p in points]
        hits = []
        for point in points:
            score, distance = score_of(self._distance, point.score)
            payload = (point.payload or {}) if query.with_payload else {}
            vector = np.asarray(point.vector, dtype=np.float32) if query.with_vector else None
            hits.append(Hit(str(point.id), score, payload, distance, vector))
        return hits

    def _compiled(self, filter: Filter | None) -> edge.Filter | None:
        if filter is None:
            return None
        with translated("compiling the filter"):
            return compile_filter(filter, self._fields)

    async def info(self) -> IndexInfo:
        with translated(f"reading the index in {self._store.path}"):
            info = self._store.shard.info()
        types = {
            key: edge_settings.field_type_of(index.data_type)
            for key, index in info.payload_schema.items()
        }
        return IndexInfo(
            points=info.points_count,
            indexed_vectors=info.indexed_vectors_count,
            dimension=self._dimension,
            distance=self._store.manifest.distance,
            payload_indexes={key: t.value for key, t in types.items() if t is not None},
            status=self._store.status,
        )

    # Upkeep

    async def optimize(self) -> None:
        """See edge_store.py. Queries and writes go on meanwhile; returns at once if none is due."""
        await self._store.optimize()

    async def drop(self) -> None:
        await self._store.drop()

    async def close(self) -> None:
        """Release the folder. Closing twice is allowed."""
        await self._store.close()


def _payload_selector(with_payload: bool | tuple[str, ...]) -> bool | list[str]:
    if isinstance(with_payload, bool):
        return with_payload
    return [json_path(key) for key in with_payload] or False


def _record(record: edge.Record, with_vector: bool) -> Record:
    return Record(
        str(record.id),
        record.payload or {},
        np.asarray(record.vector, dtype=np.float32) if with_vector and record.vector else None,
    )
