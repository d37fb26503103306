"""Runs one batch from its current state to its end.

    items not done -> at most IN_FLIGHT tasks -> outcomes -> one write for many of them

Outcomes are recorded after the document is stored. If the process is killed in between, some items
are repeated later; their document ids are fixed, so the same documents are written again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from lookalike_serving.batches.record import (
    Batch,
    BatchState,
    Cause,
    Item,
    ItemState,
    OnError,
    Progress,
    verdict,
)
from lookalike_serving.batches.staging import PREFIX, Staging
from lookalike_serving.batches.store import CHUNK, BatchStore
from lookalike_serving.batches.work import Halted, Outcome, Work

log = logging.getLogger("lookalike.batches")

IN_FLIGHT = 16
"""The number of items of one batch that are fetched, decoded or stored at the same time."""
_COMMIT_ITEMS = 64
_COMMIT_SECONDS = 0.5
_HEARTBEAT_SECONDS = 5.0
_RATE_SECONDS = 20.0


class BatchRun:
    """Runs one batch; `go` returns when it is finished, cancelled or halted."""

    def __init__(
        self, batch: Batch, store: BatchStore, staging: Staging, work: Work, owner: str
    ) -> None:
        self._batch = batch
        self._store = store
        self._staging = staging
        self._work = work
        self._stop = asyncio.Event()
        self._failure: Cause | None = None
        self._outcomes: list[Item] = []
        self._rate = Rate()
        self._committed = time.monotonic()
        self._progress = replace(
            batch.progress,
            attempt=batch.control.attempt,
            state=BatchState.RUNNING,
            started_at=batch.progress.started_at or _now(),
            finished_at=None,
            failure=None,
            owner=owner,
            rate=None,
        )

    def stop(self) -> None:
        """Start no further items: those in progress end, and their outcomes are recorded."""
        self._stop.set()

    async def go(self) -> Progress:
        """Raises IndexFailure (and Problem 503) if progress cannot be recorded."""
        todo = await self._recount()
        await self._save()
        pending: set[asyncio.Task[tuple[Item, Outcome]]] = set()
        try:
            await self._feed(todo, pending)
        finally:
            # Only a shutdown gets here with tasks left; what is done by now is recorded.
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            await self._commit()
        return await self._finish()

    async def _feed(
        self, todo: list[int], pending: set[asyncio.Task[tuple[Item, Outcome]]]
    ) -> None:
        items = self._items(todo)
        exhausted = False
        while True:
            while len(pending) < IN_FLIGHT and not (exhausted or self._stop.is_set()):
                item = await anext(items, None)
                if item is None:
                    exhausted = True
                else:
                    pending.add(asyncio.create_task(self._one(item)))
            if not pending:
                return
            done, _ = await asyncio.wait(
                pending, timeout=_COMMIT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                pending.discard(task)
                self._note(task)
            if self._due():
                await self._commit()

    async def _one(self, item: Item) -> tuple[Item, Outcome]:
        return item, await self._work.do(self._batch.order.collection, item, self._stop)

    def _note(self, task: asyncio.Task[tuple[Item, Outcome]]) -> None:
        try:
            item, outcome = task.result()
        except Halted as halted:
            self._halt(halted.cause)
            return
        retried = item.outcome is ItemState.FAILED
        cause = outcome.error
        self._outcomes.append(
            replace(
                item,
                outcome=ItemState.SUCCEEDED if cause is None else ItemState.FAILED,
                attempt=self._batch.control.attempt,
                error=cause,
                warnings=outcome.warnings,
            )
        )
        self._rate.add(time.monotonic())
        progress = self._progress
        self._progress = replace(
            progress,
            succeeded=progress.succeeded + (cause is None),
            failed=progress.failed + (cause is not None),
            again=progress.again - retried,
            untried=progress.untried - (not retried),
        )
        if cause is not None and self._batch.order.on_error is OnError.STOP:
            told = f"Item {item.position} failed, and on_error is stop. {cause.detail}"
            self._halt(Cause("stopped-at-first-failure", told))

    def _halt(self, cause: Cause) -> None:
        self._failure = self._failure or cause
        self._stop.set()

    def _due(self) -> bool:
        now = time.monotonic()
        if len(self._outcomes) >= _COMMIT_ITEMS:
            return True
        since = self._committed + (_COMMIT_SECONDS if self._outcomes else _HEARTBEAT_SECONDS)
        return now >= since

    async def _commit(self) -> None:
        """Record outcomes, then progress, then release the bytes; check for a cancellation."""
        outcomes, self._outcomes = self._outcomes, []
        try:
            await self._store.save_items(outcomes)
        except BaseException:
            self._outcomes = outcomes + self._outcomes
            raise
        await self._save()
        done = [i.image for i in outcomes if i.error is None and i.image.startswith(PREFIX)]
        if done:
            await asyncio.to_thread(self._staging.remove, done)
        self._committed = time.monotonic()
        current = await self._store.batch(self._batch.order.id)
        if current is None or current.state is BatchState.CANCELLING:
            self._stop.set()
        if current is not None:
            self._batch = current

    async def _save(self) -> None:
        rate = self._rate.per_second(time.monotonic())
        self._progress = replace(self._progress, heartbeat=_now(), rate=rate)
        await self._store.save_progress(self._batch.order.id, self._progress)

    async def _finish(self) -> Progress:
        progress, batch = self._progress, self._batch
        unfinished = progress.untried + progress.again > 0
        if batch.control.cancelled == batch.control.attempt and unfinished:
            state = BatchState.CANCELLED
        elif self._failure is not None:
            state = BatchState.FAILED
        else:
            state = verdict(replace(batch, progress=progress).counts)
        self._progress = replace(
            progress, state=state, finished_at=_now(), failure=self._failure, owner=None
        )
        await self._save()
        counts = replace(batch, progress=self._progress).counts
        if counts.failed + counts.queued == 0:
            await asyncio.to_thread(self._staging.remove_batch, batch.order.id)
        told = "batch %s of %s: %s, %d of %d stored, %d failed"
        order = batch.order
        log.info(
            told,
            order.id,
            order.collection,
            state,
            progress.succeeded,
            order.total,
            progress.failed,
        )
        return self._progress

    async def _recount(self) -> list[int]:
        """The positions to process.

        Counts again, because a killed process may have recorded outcomes but not the counts.
        """
        order = self._batch.order
        todo: list[int] = []
        succeeded = failed = again = untried = 0
        for low in range(0, order.total, CHUNK):
            for item in await self._store.items(order.id, low, min(low + CHUNK, order.total)):
                succeeded += item.outcome is ItemState.SUCCEEDED
                again += item.to_retry(self._batch)
                failed += item.outcome is ItemState.FAILED and not item.to_retry(self._batch)
                untried += item.outcome is ItemState.QUEUED
                if item.state(self._batch) is ItemState.QUEUED:
                    todo.append(item.position)
        self._progress = replace(
            self._progress, succeeded=succeeded, failed=failed, again=again, untried=untried
        )
        return todo

    async def _items(self, todo: list[int]) -> AsyncIterator[Item]:
        for low in range(0, len(todo), CHUNK):
            chunk = todo[low : low + CHUNK]
            for item in await self._store.items_at(self._batch.order.id, chunk):
                yield item


class Rate:
    """The rate in items per second over the last twenty seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def add(self, now: float) -> None:
        self._times.append(now)

    def per_second(self, now: float) -> float | None:
        """None before there is enough to compute it."""
        while self._times and self._times[0] < now - _RATE_SECONDS:
            self._times.popleft()
        if len(self._times) < 2 or now <= self._times[0]:
            return None
        return len(self._times) / (now - self._times[0])


def _now() -> datetime:
    return datetime.now(UTC)
