"""One Edge shard in its folder: opened, written through a gate, optimised by swapping, closed.

`EdgeIndex` (edge.py) is the `Index` on top; this is what it stands on. Everything here runs on
one event loop, so that a piece of code without `await` is atomic.

Durability. Edge's write-ahead log takes every operation before it is acknowledged. It is flushed
every few thousand points, so that it stays small and opening after SIGKILL is quick (100,000
points of 512: 3.2 s without flushes, .1 s with them).

Optimising. Edge does nothing by itself, and its `optimize` would stop the whole process
(`edge_optimize.py`). So a child process optimises a copy, and the store

    shuts the gate for writes -> lets the child copy the shard -> opens the gate and notes the
    ids written from now on -> waits for the child -> shuts the gate, brings the copy up to date
    with the noted ids, makes the copy the shard that counts -> opens the gate

while queries go on all the time, but for the moment that opening the copy takes (a million points
of 512: 2 s). It happens when `optimize` is called, which ingestion does at
its end; and in the background when many points wait for it and writes have paused, or very many
wait and writes have not.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from lookalike_crds.image_collection import FieldSpec, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.index import edge_settings
from lookalike_serving.index.edge_folder import EdgeFolder, Manifest
from lookalike_serving.index.edge_optimize import ShardOptimizer, size_on_disk
from lookalike_serving.index.edge_shard import (
    check_without_points,
    create_shard,
    load_shard,
    match_payload_indexes,
    translated,
)
from lookalike_serving.index.protocol import (
    IndexFailure,
    IndexRefused,
    IndexUnavailable,
)
from lookalike_serving.index.tuning import STORED_AS

log = logging.getLogger(__name__)

SLICE = 256
"""Points in one engine call: about 5 ms for 512 dimensions."""
_FLUSH_EVERY = 5_000
"""Points written between two flushes of the write-ahead log: about 25 ms each."""

IDLE_SECONDS = 2.0
"""Without a write for so long, the index counts as idle."""
_WORTH_OPTIMIZING = (edge_settings.INDEXING_THRESHOLD_KB * 1024, 0.0)
"""Bytes of vectors that wait for an optimisation, and their share of all points."""
_DUE_WHEN_IDLE = (20_000_000, 0.02)
"""20 MB, 10,000 points of 512, cost a query 2 ms of scanning."""
_DUE_WHEN_BUSY = (100_000_000, 0.25)
_VACUUM = (1_000, 0.2)
"""Deleted points, and their share, whose space is worth reclaiming (Qdrant's defaults)."""


class EdgeStore:
    """The shard of one folder. Make one with `open`."""

    def __init__(
        self, folder: EdgeFolder, manifest: Manifest, shard: edge.EdgeShard, settings: str
    ) -> None:
        self._folder = folder
        self.manifest = manifest
        self._shard: edge.EdgeShard | None = shard
        self._settings = settings
        self._gate = asyncio.Event()
        self._gate.set()
        self._unflushed = 0
        self._written = manifest.written
        self._deleted = 0
        self._unindexable = 0
        """Points that the last optimisation left out, in segments too small to need a graph."""
        self._last_write = 0.0
        self._touched: set[str] | None = None
        """Ids written since the running optimisation copied the shard; None while none runs."""
        self._optimizing = asyncio.Lock()
        self._optimizer: ShardOptimizer | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        vector: VectorSpec | None,
        dimension: int | None,
        fingerprint: str | None,
        fields: tuple[FieldSpec, ...],
        lock_wait_seconds: float,
        owner: IndexOwner | None = None,
    ) -> EdgeStore:
        folder = await EdgeFolder.acquire(path, lock_wait_seconds)
        try:
            manifest = folder.read_manifest()
            settings = "" if vector is None else vector.model_dump_json()
            if manifest is None:
                manifest = Manifest(
                    dimension=dimension,
                    distance=None if vector is None else vector.distance.value,
                    fingerprint=fingerprint,
                    datatype=None if vector is None else STORED_AS,
                    settings=settings,
                    owner=owner,
                )
                check_without_points(folder, manifest)
                folder.remove_leftovers(None)
                shard = create_shard(folder, manifest, vector)
            else:
                distance = None if vector is None else vector.distance.value
                manifest.check_owner(folder.path, owner)
                manifest.check(folder.path, dimension, distance, fingerprint)
                if owner is not None and manifest.owner != owner:
                    manifest = manifest.model_copy(update={"owner": owner})
                    folder.write_manifest(manifest)
                folder.remove_leftovers(manifest.generation)
                shard = load_shard(folder, manifest, vector)
            with translated(f"making the payload indexes of {path}"):
                match_payload_indexes(shard, fields)
        except BaseException:
            folder.release()
            raise
        return cls(folder, manifest, shard, settings)

    @property
    def path(self) -> Path:
        return self._folder.path

    @property
    def shard(self) -> edge.EdgeShard:
        """The shard that counts now: ask anew after each `await`."""
        if self._shard is None:
            raise IndexUnavailable(f"the index in {self.path} is closed: open it again")
        return self._shard

    @property
    def status(self) -> str:
        if self._touched is not None:
            return "yellow"
        return "grey" if self._due(*_WORTH_OPTIMIZING) else "green"

    # Writing

    async def write(
        self, operation: edge.UpdateOperation, ids: list[Any], *, existing: bool = False
    ) -> None:
        """Apply one operation on the points `ids`; then give other coroutines a turn.

        `existing`: refuse where one of them does not exist.
        """
        await self._pass_gate()
        if existing:
            self._check_existing(ids)
        self._apply(operation, ids)
        self._written += len(ids)
        await asyncio.sleep(0)

    async def delete(self, ids: list[Any]) -> None:
        await self._pass_gate()
        self._apply(edge.UpdateOperation.delete_points(ids), ids)
        self._deleted += len(ids)
        await asyncio.sleep(0)

    async def _pass_gate(self) -> None:
        # Event.wait() returns a turn after the event was set; it may be clear again by then.
        while not self._gate.is_set():
            await self._gate.wait()

    def _check_existing(self, ids: list[Any]) -> None:
        with translated(f"reading the index in {self.path}"):
            found = self.shard.retrieve(ids, False, False)
        if len(found) < len(ids):
            raise IndexRefused(f"no point {ids[0]}: it was deleted meanwhile; write it anew")

    def _apply(self, operation: edge.UpdateOperation, ids: list[Any]) -> None:
        shard = self.shard
        self._folder.check_present()
        with translated(f"writing to the index in {self.path}"):
            shard.update(operation)
            self._unflushed += len(ids)
            if self._unflushed >= _FLUSH_EVERY:
                shard.flush()
                self._unflushed = 0
                self._note_written()
        if self._touched is not None:
            self._touched.update(ids)
        loop = asyncio.get_running_loop()
        self._last_write = loop.time()
        if self._housekeeping is None or self._housekeeping.done():
            self._housekeeping = loop.create_task(self._housekeep())

    def _note_written(self) -> None:
        if self._written != self.manifest.written:
            self.manifest = self.manifest.model_copy(update={"written": self._written})
            self._folder.write_manifest(self.manifest)

    # Optimising

    async def optimize(self) -> None:
        async with self._optimizing:
            changed = self.manifest.settings != self._settings and self.shard.info().points_count
            if changed or self._due(*_WORTH_OPTIMIZING):
                await self._optimize_copy()

    def _due(self, bytes_waiting: int, share_waiting: float) -> bool:
        if self.manifest.dimension is None:
            return False
        info = self.shard.info()
        points = info.points_count
        unindexed = points - info.indexed_vectors_count - self._unindexable
        waiting = max(unindexed, min(self._written, points))
        vector_bytes = self.manifest.dimension * (2 if self.manifest.datatype == "Float16" else 4)
        deleted, deleted_share = _VACUUM
        return (waiting * vector_bytes >= bytes_waiting and waiting >= share_waiting * points) or (
            self._deleted >= deleted and self._deleted >= deleted_share * points
        )

    async def _optimize_copy(self) -> None:
        generation = self.manifest.generation
        source, target = self._folder.shard(generation), self._folder.shard(generation + 1)
        loop = asyncio.get_running_loop()
        # A thread of its own waits for the child: the default pool's may all be taken.
        with ThreadPoolExecutor(1, thread_name_prefix="edge-optimize") as waiting:
            try:
                await loop.run_in_executor(waiting, self._make_room, source)
                self._gate.clear()
                with translated(f"flushing the index in {self.path}"):
                    self.shard.flush()
                self._touched = set()
                self._optimizer = ShardOptimizer(source, target)
                await loop.run_in_executor(waiting, self._optimizer.wait_copied)
                self._gate.set()
                await loop.run_in_executor(waiting, self._optimizer.wait_finished)
                self._gate.clear()
                await self._swap(target)
            finally:
                if self._optimizer is not None:
                    self._optimizer.kill()  # it has ended, unless this was interrupted
                self._optimizer, self._touched = None, None
                self._gate.set()
        await asyncio.to_thread(self._folder.remove_leftovers, self.manifest.generation)

    def _make_room(self, source: Path) -> None:
        self._folder.remove_leftovers(self.manifest.generation)
        needed, free = 3 * size_on_disk(source), shutil.disk_usage(source).free
        if free < needed:
            raise IndexFailure(
                f"optimising the index in {self.path} needs {needed / 1e9:.1f} GB of free disk for "
                f"its copy, there are {free / 1e9:.1f} GB: free some, then call optimize() again"
            )

    async def _swap(self, target: Path) -> None:
        """Bring the optimised copy up to date and let it count. The gate is shut meanwhile."""
        old = self.shard
        with translated(f"opening the optimised index {target}"):
            new = edge.EdgeShard.load(str(target))
        try:
            ids = sorted(self._touched or ())
            for start in range(0, len(ids), SLICE):
                with translated(f"bringing the optimised index {target} up to date"):
                    _copy_points(old, new, ids[start : start + SLICE])
                await asyncio.sleep(0)
            with translated(f"flushing the optimised index {target}"):
                new.flush()
            manifest = self.manifest.model_copy(
                update={
                    "generation": self.manifest.generation + 1,
                    "settings": self._settings,
                    "written": len(ids),
                }
            )
            self._folder.check_present()
            self._folder.write_manifest(manifest)
        except BaseException:
            new.close()
            raise
        self.manifest, self._shard = manifest, new
        self._written, self._deleted = len(ids), 0
        info = new.info()
        self._unindexable = max(0, info.points_count - info.indexed_vectors_count - len(ids))
        old.close()

    async def _housekeep(self) -> None:
        """Runs while there are writes, and until they have been quiet for a while."""
        loop = asyncio.get_running_loop()
        patience = 1
        while self._shard is not None:
            await asyncio.sleep(IDLE_SECONDS * patience)
            idle = loop.time() - self._last_write >= IDLE_SECONDS
            if self._shard is not None and self._due(*(_DUE_WHEN_IDLE if idle else _DUE_WHEN_BUSY)):
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
        if self._shard is not None:
            await self._end()
            self._folder.release()

    async def _end(self) -> None:
        """Close the shard. A running optimisation is given up, and fails for who asked for it."""
        shard, self._shard = self.shard, None
        if self._optimizer is not None:
            self._optimizer.kill()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        async with self._optimizing:
            with translated(f"closing the index in {self.path}"):
                shard.close()
            if self._folder.is_present:
                self._note_written()


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
