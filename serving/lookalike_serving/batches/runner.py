"""Runs batches, two at a time, oldest first, and continues those of a killed process.

With an Edge index there is one process, so every batch that is RUNNING at the start is resumed at
once. With a Qdrant server, several replicas share the records: a run belongs to the replica whose
heartbeat it carries, and another one takes it over when the heartbeat has stopped for a while. If
two take the same batch at the same moment, they do the same work twice, to the same documents. A
batch whose images came inline is left to the replicas that have the folder with their bytes, unless
these have been silent for so long that they must be gone: then the other items are processed, and
those without bytes fail with that reason.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import UTC, datetime, timedelta

from lookalike_serving.batches.record import (
    MAX_ITEMS,
    Batch,
    BatchState,
    made_at,
    new_batch_id,
)
from lookalike_serving.batches.run import BatchRun
from lookalike_serving.batches.staging import Staging
from lookalike_serving.batches.store import BatchStore
from lookalike_serving.batches.work import Work
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.problems import Problem
from lookalike_serving.together import woken

log = logging.getLogger("lookalike.batches")

AT_ONCE = 2
LEASE = timedelta(seconds=30)
ELSEWHERE = timedelta(minutes=10)
"""How long a batch waits for the replicas that have its bytes."""
RETENTION = timedelta(days=30)
"""How long finished batches, and uploaded images of their failed items, are kept."""
_DEBRIS_AGE = timedelta(hours=24)
"""No request takes longer: what is still unpublished then was left behind."""
_LOOK_SECONDS = 10.0
_SWEEP_SECONDS = 3600.0
_AFTER_FAILURE_SECONDS = 5.0


class Runner:
    """Runs from `start` until `close`; `look` makes it look for work now."""

    def __init__(self, store: BatchStore, staging: Staging, work: Work, *, alone: bool) -> None:
        self._store = store
        self._staging = staging
        self._work = work
        self._alone = alone
        """Whether no other process can be running batches of this index."""
        self._owner = uuid.uuid4().hex
        # Ids contain the time in whole milliseconds: nothing made from now on looks older.
        self._born = made_at(new_batch_id(datetime.now(UTC)))
        self._wake = asyncio.Event()
        self._runs: dict[str, tuple[BatchRun, asyncio.Task[None]]] = {}
        self._supervisor: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._supervisor = asyncio.create_task(self._supervise(), name="batches")

    async def close(self) -> None:
        """Record what is done, and leave the rest for the next start."""
        tasks = [task for _, task in self._runs.values()]
        if self._supervisor is not None:
            tasks.append(self._supervisor)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def look(self) -> None:
        self._wake.set()

    def stop(self, batch: str) -> None:
        """End a batch that was cancelled, whether it runs or waits."""
        if batch in self._runs:
            self._runs[batch][0].stop()
        self.look()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        sweep_at = loop.time()
        while True:
            self._wake.clear()
            try:
                if loop.time() >= sweep_at:
                    await self._sweep()
                    sweep_at = loop.time() + _SWEEP_SECONDS
                await self._take_up()
            except (IndexFailure, Problem, OSError) as failure:
                log.warning("batches wait: %s", failure)
            await woken(self._wake, _LOOK_SECONDS)

    async def _take_up(self) -> None:
        waiting = [batch async for batch in self._store.batches() if self._free(batch)]
        for batch in reversed(waiting):
            # Ending a cancelled batch takes no work, so it does not wait for its turn.
            cancelled = batch.state is BatchState.CANCELLING
            if cancelled or len(self._runs) < AT_ONCE:
                run = BatchRun(batch, self._store, self._staging, self._work, self._owner)
                if cancelled:
                    run.stop()
                task = asyncio.create_task(self._run(batch, run), name=f"batch {batch.order.id}")
                self._runs[batch.order.id] = (run, task)

    def _free(self, batch: Batch) -> bool:
        if not batch.state.active or batch.order.id in self._runs:
            return False
        progress = batch.progress
        if batch.state is not BatchState.CANCELLING and self._is_elsewhere(batch):
            return False
        if self._alone or progress.owner in (None, self._owner) or progress.heartbeat is None:
            return True
        return datetime.now(UTC) - progress.heartbeat > LEASE

    def _is_elsewhere(self, batch: Batch) -> bool:
        if batch.order.place in (None, self._staging.place):
            return False
        heard = batch.progress.heartbeat or batch.order.created_at
        return datetime.now(UTC) - heard < ELSEWHERE

    async def _run(self, batch: Batch, run: BatchRun) -> None:
        try:
            await run.go()
        except (IndexFailure, Problem, OSError) as failure:
            # The record still says RUNNING, so the batch is resumed.
            log.error("batch %s pauses: %s", batch.order.id, failure)
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)
        except Exception:
            log.exception("batch %s failed unexpectedly and pauses", batch.order.id)
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)
        finally:
            del self._runs[batch.order.id]
            self._wake.set()

    async def _sweep(self) -> None:
        """Remove old batches, and what was left by requests that never ended."""
        now = datetime.now(UTC)
        debris_before = max(now - _DEBRIS_AGE, self._born) if self._alone else now - _DEBRIS_AGE
        for id in [id async for id in self._store.unpublished() if made_at(id) < debris_before]:
            await self._store.delete(id, MAX_ITEMS)
            await asyncio.to_thread(self._staging.remove_batch, id)
        kept: set[str] = set()
        old: list[Batch] = []
        async for batch in self._store.batches():
            finished = batch.progress.finished_at
            is_old = finished is not None and finished < now - RETENTION
            if is_old and not batch.state.active:
                old.append(batch)
            else:
                kept.add(batch.order.id)
        for batch in old:
            await self._store.delete(batch.order.id, batch.order.total)
        for id in await asyncio.to_thread(self._staging.batches):
            if id not in kept and made_at(id) < debris_before:
                await asyncio.to_thread(self._staging.remove_batch, id)
