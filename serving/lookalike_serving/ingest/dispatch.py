"""Gives out the work of a run, chunk by chunk, and notes what becomes of it."""

from __future__ import annotations

import asyncio

from lookalike_crds.config import IngestionConfig
from lookalike_crds.failures import TOO_MANY_FAILURES
from lookalike_crds.image_collection import IngestionRuntime
from lookalike_serving.documents.ids import point_id
from lookalike_serving.ingest.accounts import Accounts
from lookalike_serving.ingest.models import Loaded
from lookalike_serving.ingest.on_ray.pipeline import Pipeline
from lookalike_serving.ingest.on_ray.workers import Workers
from lookalike_serving.ingest.pool import LocalPool, Pool
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.work import Task

SMALL_RUN = 200
"""Up to so many images one process is done before two have started."""
CHUNK = 64
"""Tasks that a worker gets at once."""
DELETED = "somebody deleted the document: it stays away until its image changes, or is restored"


class TooManyFailures(Exception):
    """More images failed than `ingestion.maxFailures` allows."""

    failure_kind = TOO_MANY_FAILURES


class Dispatch:
    """Gathers tasks into chunks and keeps the workers busy, never more than they take at once.

    `alone`: the work is done in this process, however much it is. `pool`: workers that are there
    already.
    """

    def __init__(
        self,
        config: IngestionConfig,
        progress: ProgressWriter,
        accounts: Accounts,
        ready: Loaded,
        *,
        alone: bool,
        pool: Pool | None = None,
    ) -> None:
        self._accounts = accounts
        self._config = config
        self._progress = progress
        self._ready = ready
        self._alone = alone
        self._apart = config.ingestion.runtime is IngestionRuntime.RAY and not alone
        self._waiting: list[Task] = []
        self._pool = pool
        self._under_way: set[asyncio.Task[None]] = set()

    async def add(self, task: Task) -> None:
        self._waiting.append(task)
        # Pools are made on this thread: Ray's handles belong to the event loop that awaits them.
        if self._pool is None and self._apart:
            self._pool = Pipeline(self._config)
        if self._pool is None and self._alone and len(self._waiting) >= CHUNK:
            self._pool = LocalPool(self._config, self._ready)
        if self._pool is None and len(self._waiting) > SMALL_RUN:
            self._pool = Workers(self._config)
        while self._pool is not None and len(self._waiting) >= CHUNK:
            await self._send()

    async def finish(self) -> None:
        """Hand out what is left and wait for all of it."""
        if self._pool is None and self._waiting:
            self._pool = LocalPool(self._config, self._ready)
        while self._waiting:
            await self._send()
        await self._wait(all_=True)

    async def close(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._pool is not None:
            await self._pool.close()

    def check_failures(self) -> None:
        """Raises TooManyFailures."""
        bound, failed = self._config.ingestion.max_failures, self._progress.failed
        if bound is not None and failed > bound:
            raise TooManyFailures(
                f"{failed} images failed, more than ingestion.maxFailures ({bound}) allows; the "
                f"last: {self._progress.last_error}"
            )

    async def _send(self) -> None:
        assert self._pool is not None
        while len(self._under_way) >= self._pool.capacity:
            await self._wait(all_=False)
        chunk, self._waiting = self._waiting[:CHUNK], self._waiting[CHUNK:]
        self._under_way.add(asyncio.create_task(self._process(self._pool, chunk)))

    async def _process(self, pool: Pool, chunk: list[Task]) -> None:
        outcome = await pool.process(chunk)
        for name in ("new", "updated", "unchanged", "skipped"):
            for source, count in getattr(outcome, name).items():
                counts = self._progress.counts(source)
                setattr(counts, name, getattr(counts, name) + count)
        for failure in outcome.failures:
            self._progress.fail(failure)
        self._progress.warn(*outcome.warnings)
        self._progress.progress.bytes += outcome.bytes
        for stage, seconds in outcome.seconds.items():
            self._progress.took(stage, seconds)
        failed = {(failure.source, failure.key) for failure in outcome.failures}
        away = {*outcome.skipped_keys, *(each.key for each in outcome.left_out)}
        for each in outcome.left_out:
            self._progress.pass_over(each.source, each.cause, each.example)
        left_out = {(each.source, each.key) for each in outcome.left_out}
        for task in chunk:
            if (task.source, task.item.key) not in failed:
                self._accounts.brought_in(task.source, task.item.key)
            if (task.source, task.item.key) in left_out:
                continue
            if task.deleted is not None and task.item.key in away:
                self._progress.pass_over(task.source, DELETED, task.item.key)
        await self._accounts.flush()
        name = self._config.collection.name
        await self._accounts.lift(
            [
                point_id(name, task.item.document_id)
                for task in chunk
                if task.deleted is not None
                and task.item.key not in away
                and (task.source, task.item.key) not in failed
            ]
        )
        self._progress.write()
        self.check_failures()

    async def _wait(self, *, all_: bool) -> None:
        """Wait for chunks; raises what any of them raised."""
        if not self._under_way:
            return
        when = asyncio.FIRST_EXCEPTION if all_ else asyncio.FIRST_COMPLETED
        done, self._under_way = await asyncio.wait(self._under_way, return_when=when)
        for task in done:
            task.result()
