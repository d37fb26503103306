"""One Edge shard in its folder: opened, written through a gate, optimised by swapping, closed.

`EdgeIndex` (edge.py) is the `Index` on top; this is what it stands on. Everything here runs on
one event loop, so that a piece of code without `await` is atomic.

Where the shard runs. A small one in this process, where a call costs nothing on top; a large one in
a process of its own, where `load`, `flush` and long writes stop nobody (`edge_process.py`). The
folder's lock, the manifest, and the order of writes stay here.

Durability. Edge's write-ahead log takes every operation before it is acknowledged. It is flushed
every few thousand points, so that it stays small and opening after SIGKILL is quick (100,000
points of 512: 3.2 s without flushes, .1 s with them).

Optimising. Edge does nothing by itself, and its `optimize` would stop everything
(`edge_optimize.py`). So a child process optimises a copy, and the store

    lets the child copy the shard -> shuts the gate for writes -> lets the child copy what has
    changed in the meantime -> opens the gate and notes the
    ids written from now on -> waits for the child -> opens the copy, beside the shard that still
    counts -> writes the noted points to it, and those noted since, until few are left -> shuts
    the gate, writes those, makes the copy the shard that counts -> opens the gate

while queries go on all the time. It happens when `optimize` is called, which ingestion does at
its end; and in the background when many points wait for it and writes have paused, or very many
wait and writes have not.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lookalike_crds.image_collection import FieldSpec, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.payload_indexes import remembered
from lookalike_serving.index import edge_growth
from lookalike_serving.index.edge_engine import (
    LocalShard,
    Operation,
    P,
    Shard,
    ShardEngine,
    ShardPlace,
    ShardState,
    T,
)
from lookalike_serving.index.edge_folder import EdgeFolder, Manifest
from lookalike_serving.index.edge_growth import Extent, Growth, Occasion
from lookalike_serving.index.edge_optimize import ShardOptimizer
from lookalike_serving.index.edge_process import ShardProcess
from lookalike_serving.index.edge_shard import check_without_points, create_shard
from lookalike_serving.index.edge_tuning import told_to_optimizer
from lookalike_serving.index.protocol import IndexFailure, IndexFull, IndexUnavailable, Vector
from lookalike_serving.index.recall import QUERIES
from lookalike_serving.index.spaces import CopySpace
from lookalike_serving.index.tuning import STORED_AS
from lookalike_serving.machine.disk import (
    LAST_RESERVE,
    RESERVE,
    NoRoom,
    check_room,
    free_bytes,
    size_on_disk,
)
from lookalike_serving.together import to_its_end

log = logging.getLogger(__name__)

LARGE_BYTES = 120_000_000
"""A shard of so many bytes on disk, some 28,000 points of 512, gets a process of its own. Loading a
smaller one stops the server for less than .1 s; a process costs memory and each call some .3 ms
on a busy machine (ADR 0010)."""

SLICE = 256
"""Points read or deleted in one engine call."""
WRITE_SLICE = 64
"""Points written in one engine call: 1 to 2 ms for 512 dimensions, which a search may wait for."""
_FLUSH_EVERY = 5_000
"""Points written between two flushes of the write-ahead log: about 25 ms each."""
_CATCH_UP_ROUNDS = 8
"""Rounds of copying what was written in the meantime before writes have to wait for the rest."""

IDLE_SECONDS = 2.0
"""Without a write for so long, the index counts as idle."""
_TIMES_OVER = {Extent.WHOLE: 3, Extent.BESIDE: 2}
"""The size of the shard that an optimisation needs at most: its copy, and what is built of it."""


class EdgeStore:
    """The shard of one folder. Make one with `open`."""

    def __init__(
        self,
        folder: EdgeFolder,
        manifest: Manifest,
        vector: VectorSpec | None,
        fields: tuple[FieldSpec, ...] | None,
    ) -> None:
        self._folder = folder
        self.manifest = manifest
        self._vector = vector
        self._fields = fields
        self._settings = _settings(vector)
        # A record of what was done is noted as long as that is possible at all.
        self._reserve = RESERVE if vector is not None else LAST_RESERVE
        self._shard: Shard | None = None
        self._reopening = asyncio.Lock()
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
        self._writing = asyncio.Lock()
        """Held by a write while the shard carries it out. A search that comes waits for one write,
        however many there are who write."""
        self._noting = asyncio.Lock()
        """Held while the manifest is written."""
        self._optimizing = asyncio.Lock()
        self._optimizer: ShardOptimizer | None = None
        self.recent: deque[Vector] = deque(maxlen=QUERIES)
        """Vectors that were searched for: search settings are measured with them."""
        self._housekeeping: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        vector: VectorSpec | None,
        dimension: int | None,
        fingerprint: str | None,
        fields: tuple[FieldSpec, ...] | None,
        lock_wait_seconds: float,
        owner: IndexOwner | None = None,
        model: str | None = None,
        copies: CopySpace | None = None,
    ) -> EdgeStore:
        folder = await EdgeFolder.acquire(path, lock_wait_seconds)
        try:
            try:
                check_room(path, reserve=LAST_RESERVE)
            except NoRoom as full:
                raise IndexFull(f"the index in {path} cannot be opened: {full.message}") from None
            manifest = folder.read_manifest()
            distance = None if vector is None else vector.distance.value
            if manifest is None:
                manifest = Manifest(
                    dimension=dimension,
                    distance=distance,
                    fingerprint=fingerprint,
                    datatype=None if vector is None else STORED_AS,
                    settings=_settings(vector),
                    owner=owner,
                    model=model,
                    copy_dimension=None if copies is None else copies.dimension,
                    copy_fingerprint=None if copies is None else copies.fingerprint,
                    **remembered(fields or (), {}, {}),
                )
                check_without_points(folder, manifest)
                folder.remove_leftovers(None)
                create_shard(folder, manifest, vector).close()
            else:
                manifest.check_owner(folder.path, owner)
                manifest.check(folder.path, dimension, distance, fingerprint, copies)
                signed = manifest.model_copy(
                    update={
                        "owner": owner or manifest.owner,
                        "model": model or manifest.model,
                        # Before the payload indexes are made for them.
                        **remembered(fields or (), manifest.types, manifest.former_types),
                    }
                )
                if signed != manifest:
                    manifest = signed
                    folder.write_manifest(manifest)
                await asyncio.to_thread(folder.remove_leftovers, manifest.generation)
            store = cls(folder, manifest, vector, fields)
            store._shard = await store._load(manifest)
        except BaseException:
            folder.release()
            raise
        return store

    async def _load(self, manifest: Manifest) -> Shard:
        """Open the shard that `manifest` lets count, in this process or one of its own."""
        place = ShardPlace(self.path, manifest, self._vector, self._fields)
        if await asyncio.to_thread(size_on_disk, place.path) < LARGE_BYTES:
            return LocalShard(ShardEngine.load(place))
        return await ShardProcess.start(place, self._folder.lock)

    @property
    def path(self) -> Path:
        return self._folder.path

    @property
    def shard(self) -> Shard:
        """The shard that counts now: ask again after each `await`."""
        if self._shard is None:
            raise IndexUnavailable(f"the index in {self.path} is closed: open it again")
        return self._shard

    async def call(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Carry out an operation that changes nothing."""
        if self.shard.ended:
            await self._reopen()
        return await self.shard.call(operation, *args, **kwargs)

    async def _reopen(self) -> None:
        """Start the process of a shard whose process has died: nothing acknowledged is lost."""
        async with self._reopening:
            dead = self.shard
            if not dead.ended:
                return
            log.warning("the process of the index in %s ended: starting it again", self.path)
            await dead.close()
            shard = await self._load(self.manifest)
            if self._shard is dead:
                self._shard = shard
            else:  # an optimised copy took over in the meantime, or the index was closed
                await to_its_end(shard.close())

    def status(self, state: ShardState) -> str:
        if self._optimizer is not None:
            return "yellow"
        return "grey" if self._due(state, edge_growth.ASKED) else "green"

    # Writing

    async def write(
        self, ids: list[str], operation: Operation[P, Any], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Carry out one operation that writes the points `ids`; then give others a turn."""
        await self._apply(self._reserve, ids, operation, *args, **kwargs)
        self._written += len(ids)
        await asyncio.sleep(0)

    async def delete(self, ids: list[str]) -> None:
        # It makes room, so it may use what others must leave.
        await self._apply(LAST_RESERVE, ids, ShardEngine.delete, ids)
        self._deleted += len(ids)
        await asyncio.sleep(0)

    async def take_fields(self, fields: tuple[FieldSpec, ...]) -> None:
        """Index these fields from now on, including what is stored; meanwhile reads use the former
        ones.
        """
        async with self._writing:
            await self._pass_gate()
            self._check_room(LAST_RESERVE)
            # Before the payload indexes are made for other types.
            await self._note(**remembered(fields, self.manifest.types, self.manifest.former_types))
            self._fields = fields  # an optimised copy that takes over in the meantime has them, too
            await self.call(ShardEngine.take_fields, fields)

    async def _pass_gate(self) -> None:
        # Event.wait() returns a turn after the event was set; it may be clear again by then.
        while not self._gate.is_set():
            await self._gate.wait()

    def _check_room(self, reserve: int) -> None:
        try:
            check_room(self.path, reserve=reserve)
        except NoRoom as full:
            raise IndexFull(full.message) from None

    async def _apply(
        self,
        reserve: int,
        ids: list[str],
        operation: Operation[P, Any],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        async with self._writing:
            await self._pass_gate()
            self._check_room(reserve)
            while self.shard.ended:
                await self._reopen()
                await self._pass_gate()
            self._folder.check_present()
            # Noted before the shard has it: a swap that begins now copies these points after this
            # write, since the shard takes calls in order.
            if self._touched is not None:
                self._touched.update(ids)
            loop = asyncio.get_running_loop()
            self._last_write = loop.time()
            if self._housekeeping is None or self._housekeeping.done():
                self._housekeeping = loop.create_task(self._housekeep())
            self._unflushed += len(ids)
            await self.shard.call(operation, *args, **kwargs)
            flushing = self._unflushed >= _FLUSH_EVERY
            if flushing:
                self._unflushed = 0
                await self.call(ShardEngine.flush)
        if flushing:
            await self._note_written()

    async def _note(self, **changed: Any) -> None:
        """Write the manifest, one writer at a time, off the event loop: a disk may be slow."""
        async with self._noting:
            manifest = self.manifest.model_copy(update=changed)
            if manifest != self.manifest:
                await to_its_end(asyncio.to_thread(self._folder.write_manifest, manifest))
                self.manifest = manifest

    async def _note_written(self) -> None:
        try:
            await self._note(written=self._written)
        except OSError as failure:  # a full disk: it says only when to optimise
            log.warning("%s: the amount written could not be recorded: %s", self.path, failure)

    # Optimising

    async def optimize(self) -> None:
        await self._optimize(edge_growth.ASKED)

    async def _optimize(self, occasion: Occasion) -> None:
        """Carry out what is due on this occasion."""
        async with self._optimizing:
            state = await self.call(ShardEngine.state)
            extent = self._due(state, occasion)
            if self.manifest.settings != self._settings and state.points:
                # The engine builds every graph again, so that nothing can stay.
                extent = Extent.WHOLE if extent or occasion is edge_growth.ASKED else None
            if extent:
                await self._optimize_copy(extent)

    def _due(self, state: ShardState, occasion: Occasion) -> Extent | None:
        growth = self._growth(state)
        return None if growth is None else growth.due(occasion)

    def _growth(self, state: ShardState) -> Growth | None:
        """None: an index of payloads only."""
        if self.manifest.dimension is None:
            return None
        unindexed = state.points - state.indexed_vectors - self._unindexable
        bytes_each = 2 if self.manifest.datatype == "Float16" else 4
        return Growth(
            points=state.points,
            waiting=max(unindexed, min(self._written, state.points)),
            beside=self.manifest.beside,
            deleted=self._deleted,
            built=self.manifest.built,
            vector_bytes=self.manifest.dimension * bytes_each,
        )

    async def _optimize_copy(self, extent: Extent = Extent.WHOLE) -> None:
        generation = self.manifest.generation
        source, target = self._folder.shard(generation), self._folder.shard(generation + 1)
        loop = asyncio.get_running_loop()
        # A thread of its own waits for the child: the default pool's may all be taken.
        with ThreadPoolExecutor(1, thread_name_prefix="edge-optimize") as waiting:
            try:
                await loop.run_in_executor(waiting, self._make_room, source, extent)
                self._optimizer = ShardOptimizer(source, target)
                await loop.run_in_executor(waiting, self._optimizer.wait_nearly_copied)
                await self.call(ShardEngine.flush)  # so that little is left for the next
                self._gate.clear()
                await self.call(ShardEngine.flush)
                self._touched = set()
                await loop.run_in_executor(waiting, self._optimizer.copy_rest)
                self._gate.set()
                graphs = self._graphs(await self.call(ShardEngine.state), extent)
                manifest = self.manifest.model_copy(update={"generation": generation + 1, **graphs})
                place = ShardPlace(self.path, manifest, self._vector, None)
                told = told_to_optimizer(place, extent, self.recent)
                await loop.run_in_executor(waiting, self._optimizer.wait_finished, told)
                await self._take_over(graphs)
            finally:
                if self._optimizer is not None:
                    self._optimizer.kill()  # it has ended, unless this was interrupted
                self._optimizer, self._touched = None, None
                self._gate.set()
        await asyncio.to_thread(self._folder.remove_leftovers, self.manifest.generation)

    def _graphs(self, state: ShardState, extent: Extent) -> dict[str, int]:
        """What the manifest says of the shard's graphs after an optimisation."""
        growth = self._growth(state)
        if growth is None or extent is Extent.WHOLE:
            return {"built": state.points, "beside": 0}
        return {"built": growth.built, "beside": growth.outside}

    def _make_room(self, source: Path, extent: Extent) -> None:
        self._folder.remove_leftovers(self.manifest.generation)
        needed = _TIMES_OVER[extent] * size_on_disk(source) + RESERVE
        free = free_bytes(source)
        if free < needed:
            raise IndexFailure(
                f"optimising the index in {self.path} needs {needed / 1000000000.0:.1f} GB of "
                f"free disk space for its copy, and {free / 1000000000.0:.1f} GB are free: free "
                "some, then call optimize() again"
            )

    async def _take_over(self, graphs: dict[str, int]) -> None:
        """Bring the optimised copy up to date and let it count, while queries go on.

        `graphs`: what the manifest says of them from then on.
        """
        manifest = self.manifest.model_copy(update={"generation": self.manifest.generation + 1})
        fields = self._fields
        new = await self._load(manifest)
        try:
            copied = 0
            for _ in range(_CATCH_UP_ROUNDS):
                if len(self._touched or ()) <= WRITE_SLICE:
                    break
                copied += await self._catch_up(new)
            self._gate.clear()
            copied += await self._catch_up(new)
            if self._fields is not None and self._fields != fields:
                await new.call(ShardEngine.take_fields, self._fields)
            await new.call(ShardEngine.flush)
            state = await new.call(ShardEngine.state)
            self._folder.check_present()
            await to_its_end(self._replace(new, state, copied, graphs))
        except BaseException:
            if self._shard is not new:
                await to_its_end(new.close())
            raise

    async def _catch_up(self, new: Shard) -> int:
        """Make `new` agree with the shard on the points noted so far; how many those are."""
        ids, self._touched = sorted(self._touched or ()), set()
        for start in range(0, len(ids), WRITE_SLICE):
            part = ids[start : start + WRITE_SLICE]
            points = await self.call(ShardEngine.stored, part)
            found = {id for id, _, _ in points}
            if gone := [id for id in part if id not in found]:
                await new.call(ShardEngine.delete, gone)
            if points:
                await new.call(ShardEngine.upsert, points)
            await asyncio.sleep(0)
        return len(ids)

    async def _replace(
        self, new: Shard, state: ShardState, copied: int, graphs: dict[str, int]
    ) -> None:
        await self._note(
            generation=self.manifest.generation + 1,
            settings=self._settings,
            written=copied,
            **graphs,
        )
        old, self._shard = self.shard, new
        self._written, self._unflushed = copied, 0
        if not graphs["beside"]:
            self._deleted = 0
        self._unindexable = max(0, state.points - state.indexed_vectors - copied)
        self._gate.set()
        await old.close()

    async def _housekeep(self) -> None:
        """Runs while there are writes, and until they have been quiet for a while."""
        loop = asyncio.get_running_loop()
        patience = 1
        while self._shard is not None:
            await asyncio.sleep(IDLE_SECONDS * patience)
            idle = loop.time() - self._last_write >= IDLE_SECONDS
            try:
                await self._optimize(edge_growth.IDLE if idle else edge_growth.BUSY)
            except IndexFailure as failure:
                log.warning("%s", failure)
                patience = min(patience * 4, 1024)
                continue
            if idle:
                return

    # Ending

    async def drop(self) -> None:
        await self._end()
        await asyncio.to_thread(self._folder.drop)

    async def close(self) -> None:
        if self._shard is not None:
            try:
                await self._end()
            finally:
                self._folder.release()

    async def _end(self) -> None:
        """Close the shard. A running optimisation is given up, and fails for who asked for it."""
        shard, self._shard = self.shard, None
        if self._optimizer is not None:
            self._optimizer.kill()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        async with self._optimizing, self._reopening:
            await to_its_end(shard.close())
            if self._folder.is_present:
                await self._note_written()


def _settings(vector: VectorSpec | None) -> str:
    return "" if vector is None else vector.model_dump_json()
