"""Qdrant Edge as an `Index`: Qdrant's engine in this process, its files in one folder.

Why no thread pool. Edge 0.9 holds Python's interpreter lock through every call (measured: a
second thread runs at .2 % of its speed beside `update`, `count`, `scroll`, `load` and
`optimize`), so a thread would not let the event loop run any sooner; it would only add its
hand-over, about .1 ms to a query of .4 ms. Calls are made directly on the event loop, and what
can be long is cut: writes, pages and batches into slices, after each of which other coroutines
have their turn. `optimize`, which cannot be cut, runs in another process on a copy of the shard
(`edge_optimize.py`). What remains long are exact queries, and filters on fields without an index,
over very many points.

Durability. Edge's write-ahead log takes every operation before it is acknowledged. It is flushed
every few thousand points, so that it stays small and opening after SIGKILL is quick (100,000
points of 512: 3.2 s without flushes, .1 s with them).

Optimising. Edge does nothing by itself. `optimize()` is called at the end of an ingestion;
besides, the index optimises in the background when many points wait for it and writes have
paused, or very many wait and writes have not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from lookalike_crds.image_collection import Distance, FieldSpec, VectorSpec
from lookalike_serving.index import edge_settings
from lookalike_serving.index.edge_filters import compile_filter
from lookalike_serving.index.edge_folder import EdgeFolder, Manifest
from lookalike_serving.index.edge_optimize import ShardOptimizer, size_on_disk
from lookalike_serving.index.filters import Filter
from lookalike_serving.index.predicates import json_path
from lookalike_serving.index.protocol import (
    Hit,
    IndexFailure,
    IndexInfo,
    IndexRefused,
    IndexUnavailable,
    Page,
    Point,
    Query,
    Record,
)
from lookalike_serving.index.scores import engine_threshold, score_of
from lookalike_serving.index.values import checked_id, checked_payload, checked_vector

log = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 10.0
_SLICE = 256
"""Points in one engine call: about 5 ms for 512 dimensions."""
_BATCH_SLICE = 16
"""Queries in one engine call: about 5 ms."""
_FLUSH_EVERY = 5_000
"""Points written between two flushes of the write-ahead log: about 25 ms each."""

IDLE_SECONDS = 2.0
"""Without a write for so long, the index counts as idle."""
_DUE_WHEN_IDLE = (20_000_000, 0.02)
"""Background optimisation: bytes of vectors that wait for it, and their share of all points.
20 MB, 10,000 points of 512, cost a query 2 ms of scanning."""
_DUE_WHEN_BUSY = (100_000_000, 0.25)
_VACUUM_SHARE = 0.2
"""Deleted points' share of all from which `optimize` reclaims their space (Qdrant's default)."""


class EdgeIndex:
    """An `Index` on one Edge shard. Make one with `open`; use it from one event loop."""

    def __init__(
        self,
        folder: EdgeFolder,
        manifest: Manifest,
        shard: edge.EdgeShard,
        settings: str,
        fields: tuple[FieldSpec, ...],
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._shard: edge.EdgeShard | None = shard
        self._settings = settings
        self._fields = fields
        self._distance = Distance(manifest.distance or Distance.COSINE)
        self._tuned = edge_settings.search_params(None, exact=False)

        self._writable = asyncio.Event()
        self._writable.set()
        self._unflushed = 0
        self._deleted = 0
        self._last_write = 0.0
        self._touched: set[str] | None = None
        """Ids written since the running optimisation copied the shard; None while none runs."""
        self._optimizing = asyncio.Lock()
        self._housekeeping: asyncio.Task[None] | None = None

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
    ) -> EdgeIndex:
        """Open the index in `path`, or make it. `vector` and `dimension` None: payloads only.

        Raises IndexMismatch where the folder's index was made for another dimension, distance
        or model; IndexUnavailable where another process keeps it open; IndexFailure where
        its files cannot be read.
        """
        folder = await EdgeFolder.acquire(path, lock_wait_seconds)
        try:
            return cls._open_locked(folder, vector, dimension, fingerprint, fields)
        except BaseException:
            folder.release()
            raise

    @classmethod
    def _open_locked(
        cls,
        folder: EdgeFolder,
        vector: VectorSpec | None,
        dimension: int | None,
        fingerprint: str | None,
        fields: tuple[FieldSpec, ...],
    ) -> EdgeIndex:
        distance = None if vector is None else vector.distance.value
        settings = "" if vector is None else vector.model_dump_json()
        manifest = folder.read_manifest()
        created = manifest is None
        if manifest is None:
            folder.remove_leftovers(None)
            manifest = Manifest(
                dimension=dimension,
                distance=distance,
                fingerprint=fingerprint,
                datatype=None if vector is None else edge_settings.storage_datatype(vector),
                settings=settings,
            )
        else:
            manifest.check(folder.path, dimension, distance, fingerprint)
            folder.remove_leftovers(manifest.generation)
        where = folder.shard(manifest.generation)
        if not created and not where.is_dir():
            raise IndexFailure(
                f"the index's files in {where} are gone: restore the folder from a backup, or "
                f"delete {folder.path} and ingest again"
            )
        if vector is None or dimension is None or manifest.datatype is None:
            config = edge_settings.payload_only_config()
        else:
            config = edge_settings.edge_config(vector, dimension, manifest.datatype)
        with _translated(f"opening the index in {folder.path}"):
            if created:
                shard = edge.EdgeShard.create(str(where), config)
                folder.write_manifest(manifest)
            else:
                shard = edge.EdgeShard.load(str(where), config)
            _match_payload_indexes(shard, fields)
        return cls(folder, manifest, shard, settings, fields)

    @property
    def path(self) -> Path:
        return self._folder.path

    # Writing

    async def upsert(self, points: Sequence[Point]) -> None:
        dimension = self._manifest.dimension
        ids: list[str] = []
        checked: list[edge.Point] = []
        # All are checked before the first is written: a refused call changes nothing.
        for number, point in enumerate(points):
            id = checked_id(point.id)
            payload = checked_payload(point.payload, id)
            if dimension is None:
                vector: Any = {}
                if point.vector is not None:
                    raise IndexRefused(f"{id}: this index holds payloads only, no vectors")
            else:
                vector = checked_vector(point.vector, dimension, f"the vector of {id}")
            ids.append(id)
            checked.append(edge.Point(id, vector, payload))
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        for start in range(0, len(checked), _SLICE):
            await self._write(
                edge.UpdateOperation.upsert_points(checked[start : start + _SLICE]),
                ids[start : start + _SLICE],
            )

    async def merge_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        checked = checked_payload(payload, id)
        await self._write(edge.UpdateOperation.set_payload([id], checked), [id], only_existing=True)

    async def replace_payload(self, id: str, payload: dict[str, Any]) -> None:
        id = checked_id(id)
        checked = checked_payload(payload, id)
        await self._write(
            edge.UpdateOperation.overwrite_payload([id], checked), [id], only_existing=True
        )

    async def delete(self, ids: Sequence[str]) -> None:
        checked: list[Any] = [checked_id(id) for id in ids]
        for start in range(0, len(checked), _SLICE):
            part = checked[start : start + _SLICE]
            await self._write(edge.UpdateOperation.delete_points(part), part)
            self._deleted += len(part)

    async def _write(
        self, operation: edge.UpdateOperation, ids: list[Any], *, only_existing: bool = False
    ) -> None:
        # Event.wait() returns a turn after the event was set; it may be clear again.
        while not self._writable.is_set():
            await self._writable.wait()
        shard = self._open_shard()
        self._folder.check_present()
        with _translated(f"writing to the index in {self.path}"):
            if only_existing and not shard.retrieve(ids, False, False):
                return  # as Qdrant's server does; Edge raises
            shard.update(operation)
            self._unflushed += len(ids)
            if self._unflushed >= _FLUSH_EVERY:
                shard.flush()
                self._unflushed = 0
        if self._touched is not None:
            self._touched.update(ids)
        loop = asyncio.get_running_loop()
        self._last_write = loop.time()
        if self._housekeeping is None or self._housekeeping.done():
            self._housekeeping = loop.create_task(self._housekeep())
        await asyncio.sleep(0)

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
        for start in range(0, len(checked), _SLICE):
            if start:
                await asyncio.sleep(0)
            shard = self._open_shard()
            with _translated(f"reading the index in {self.path}"):
                part = shard.retrieve(checked[start : start + _SLICE], wanted, with_vector)
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
        # Edge's offset is the first id of the page that follows, so a page token survives the
        # deletion of any point, that one too.
        next_id = None if after is None else checked_id(after)
        compiled = self._compiled(filter)
        wanted = _payload_selector(with_payload)
        records: list[Record] = []
        while True:
            shard = self._open_shard()
            with _translated(f"reading the index in {self.path}"):
                part, offset = shard.scroll(
                    edge.ScrollRequest(
                        offset=next_id,
                        limit=min(_SLICE, limit - len(records)),
                        filter=compiled,
                        with_payload=wanted,
                        with_vector=with_vector,
                    )
                )
            records.extend(_record(record, with_vector) for record in part)
            next_id = None if offset is None else str(offset)
            if next_id is None or len(records) >= limit:
                return Page(tuple(records), next_id)
            await asyncio.sleep(0)

    async def count(self, filter: Filter | None = None) -> int:
        compiled = self._compiled(filter)
        shard = self._open_shard()
        with _translated(f"counting in the index in {self.path}"):
            counted: int = shard.count(edge.CountRequest(exact=True, filter=compiled))
        return counted

    async def query(self, query: Query) -> list[Hit]:
        request = self._request(query)
        if request is None:
            return []
        shard = self._open_shard()
        with _translated(f"searching the index in {self.path}"):
            return self._hits(shard.query(request), query)

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
            shard = self._open_shard()
            with _translated(f"searching the index in {self.path}"):
                found = shard.query_batch(edge.QueryBatchRequest([r for _, _, r in part]))
            for (number, query, _), points in zip(part, found, strict=True):
                answers[number] = self._hits(points, query)
        return answers

    def _request(self, query: Query) -> edge.QueryRequest | None:
        """The engine's request; None where the answer is known to be empty."""
        vector = checked_vector(query.vector, self._manifest.dimension, "the query vector")
        if query.limit < 0 or query.offset < 0:
            raise IndexRefused(
                f"limit {query.limit} and offset {query.offset} must not be negative"
            )
        if query.limit == 0:
            return None
        if self._distance is Distance.EUCLID and (query.min_score or 0) > 1:
            return None
        return edge.QueryRequest(
            query.limit,
            offset=query.offset,
            query=edge.Query.Nearest(vector),
            with_vector=query.with_vector,
            with_payload=_payload_selector(query.with_payload),
            filter=self._compiled(query.filter),
            score_threshold=engine_threshold(self._distance, query.min_score),
            params=self._tuned
            if query.ef is None and not query.exact
            else edge_settings.search_params(query.ef, query.exact),
        )

    def _hits(self, points: list[edge.ScoredPoint], query: Query) -> list[Hit]:
        hits = []
        for point in points:
            score, distance = score_of(self._distance, point.score)
            hits.append(
                Hit(
                    str(point.id),
                    score,
                    (point.payload or {}) if query.with_payload else {},
                    distance,
                    np.asarray(point.vector, dtype=np.float32) if query.with_vector else None,
                )
            )
        return hits

    async def info(self) -> IndexInfo:
        shard = self._open_shard()
        with _translated(f"reading the index in {self.path}"):
            info = shard.info()
        types = {
            key: edge_settings.field_type_of(index.data_type)
            for key, index in info.payload_schema.items()
        }
        status = "green"
        if self._touched is not None:
            status = "yellow"
        elif self._due(edge_settings.INDEXING_THRESHOLD_KB * 1024, 0.0):
            status = "grey"
        return IndexInfo(
            points=info.points_count,
            indexed_vectors=info.indexed_vectors_count,
            dimension=self._manifest.dimension,
            distance=self._manifest.distance,
            payload_indexes={key: t.value for key, t in types.items() if t is not None},
            status=status,
        )

    def _compiled(self, filter: Filter | None) -> edge.Filter | None:
        if filter is None:
            return None
        with _translated("compiling the filter"):
            return compile_filter(filter, self._fields)

    def _open_shard(self) -> edge.EdgeShard:
        if self._shard is None:
            raise IndexUnavailable(f"the index in {self.path} is closed: open it again")
        return self._shard

    # Optimising

    async def optimize(self) -> None:
        async with self._optimizing:
            self._open_shard()
            settings_changed = self._manifest.settings != self._settings
            if settings_changed or self._due(edge_settings.INDEXING_THRESHOLD_KB * 1024, 0.0):
                await self._optimize_copy()

    def _due(self, bytes_waiting: int, share_waiting: float) -> bool:
        if self._manifest.dimension is None:
            return False
        info = self._open_shard().info()
        points, waiting = info.points_count, info.points_count - info.indexed_vectors_count
        vector_bytes = 2 if self._manifest.datatype == "Float16" else 4
        return (
            waiting * self._manifest.dimension * vector_bytes >= bytes_waiting
            and waiting >= share_waiting * points
        ) or (self._deleted >= 1000 and self._deleted >= _VACUUM_SHARE * points)

    async def _optimize_copy(self) -> None:
        source = self._folder.shard(self._manifest.generation)
        target = self._folder.shard(self._manifest.generation + 1)
        optimizer: ShardOptimizer | None = None
        # The optimiser's pipes are waited for in a thread of its own.
        threads = ThreadPoolExecutor(1, thread_name_prefix="edge-optimize")
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(threads, self._check_space, source)
            self._writable.clear()
            with _translated(f"flushing the index in {self.path}"):
                self._open_shard().flush()
            self._touched = set()
            optimizer = ShardOptimizer(source, target)
            await loop.run_in_executor(threads, optimizer.wait_copied)
            self._writable.set()
            await loop.run_in_executor(threads, optimizer.wait_finished)
            self._writable.clear()
            await self._swap(target)
        except BaseException:
            if optimizer is not None:
                optimizer.kill()
            shutil.rmtree(target, ignore_errors=True)
            raise
        finally:
            self._touched = None
            self._writable.set()
            threads.shutdown(wait=False)
        await loop.run_in_executor(None, self._folder.remove_leftovers, self._manifest.generation)

    def _check_space(self, source: Path) -> None:
        needed, free = 3 * size_on_disk(source), shutil.disk_usage(source).free
        if free < needed:
            raise IndexFailure(
                f"optimising the index in {self.path} needs {needed / 1e9:.1f} GB of free disk for "
                f"its copy, there are {free / 1e9:.1f} GB: free some, then call optimize() again"
            )

    async def _swap(self, target: Path) -> None:
        """Bring the optimised copy up to date and let it count. No write runs meanwhile."""
        old = self._open_shard()
        with _translated(f"opening the optimised index {target}"):
            new = edge.EdgeShard.load(str(target))
        try:
            ids = sorted(self._touched or ())
            for start in range(0, len(ids), _SLICE):
                part = ids[start : start + _SLICE]
                with _translated(f"bringing the optimised index {target} up to date"):
                    _copy_points(old, new, part)
                await asyncio.sleep(0)
            with _translated(f"flushing the optimised index {target}"):
                new.flush()
            manifest = self._manifest.model_copy(
                update={"generation": self._manifest.generation + 1, "settings": self._settings}
            )
            self._folder.check_present()
            self._folder.write_manifest(manifest)
        except BaseException:
            new.close()
            raise
        self._manifest, self._shard, self._deleted = manifest, new, 0
        old.close()

    async def _housekeep(self) -> None:
        """Runs while there are writes, and until they have been quiet for a while."""
        loop = asyncio.get_running_loop()
        patience = 1
        while self._shard is not None:
            await asyncio.sleep(IDLE_SECONDS * patience)
            idle = loop.time() - self._last_write >= IDLE_SECONDS
            if self._due(*(_DUE_WHEN_IDLE if idle else _DUE_WHEN_BUSY)):
                try:
                    await self.optimize()
                except IndexFailure as failure:
                    log.warning("%s", failure)
                    patience = min(patience * 4, 1024)
                    continue
            if idle:
                return

    # Ending

    async def drop(self) -> None:
        await self._end()
        self._folder.drop()

    async def close(self) -> None:
        if self._shard is None:
            return
        await self._end()
        self._folder.release()

    async def _end(self) -> None:
        shard = self._open_shard()
        task = self._housekeeping
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, IndexFailure):
                await task
        async with self._optimizing:  # an explicit optimize() ends first
            shard = self._open_shard()
            self._shard = None
            with _translated(f"closing the index in {self.path}"):
                shard.close()


def _match_payload_indexes(shard: edge.EdgeShard, fields: tuple[FieldSpec, ...]) -> None:
    """Make the payload indexes that `fields` ask for and delete those they do not."""
    wanted = {field.name: field.type for field in fields}
    for key, index in shard.info().payload_schema.items():
        if wanted.get(key) is not edge_settings.field_type_of(index.data_type):
            shard.update(edge.UpdateOperation.delete_field_index(key))
        else:
            del wanted[key]
    for key, field_type in wanted.items():
        shard.update(
            edge.UpdateOperation.create_field_index(key, edge_settings.payload_schema(field_type))
        )


def _copy_points(old: edge.EdgeShard, new: edge.EdgeShard, ids: list[Any]) -> None:
    """Make `new` agree with `old` on `ids`."""
    records = {str(record.id): record for record in old.retrieve(ids, True, True)}
    gone: list[Any] = [id for id in ids if id not in records]
    if gone:
        new.update(edge.UpdateOperation.delete_points(gone))
    if records:
        new.update(
            edge.UpdateOperation.upsert_points(
                [edge.Point(id, r.vector or {}, r.payload or {}) for id, r in records.items()]
            )
        )


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


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Edge's exceptions as ours."""
    try:
        yield
    except IndexFailure:
        raise
    except (ValueError, TypeError) as error:
        raise IndexRefused(f"{doing}: {error}") from error
    except Exception as error:
        # Edge raises bare `Exception`s: values are checked before it sees them, so what is left
        # is the disk or damaged files.
        raise IndexFailure(
            f"{doing} failed: {error}; check the disk, restore the folder from a backup, or "
            "delete it and ingest again"
        ) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise IndexFailure(
            f"{doing} failed inside Qdrant Edge: {error}; its files may be damaged: restore the "
            "folder from a backup, or delete it and ingest again"
        ) from error
