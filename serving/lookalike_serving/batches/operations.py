"""What callers can do with batches, independent of HTTP: submit, read, cancel, retry."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from lookalike_crds.config import CollectionConfig
from lookalike_crds.failures import (
    BATCH_ACTIVE,
    BATCH_FINISHED,
    IDEMPOTENCY_KEY_REUSED,
    NOT_FOUND,
    NOTHING_TO_RETRY,
)
from lookalike_serving.batches.intake import Inline, Intake
from lookalike_serving.batches.record import (
    MAX_ITEMS,
    Batch,
    BatchState,
    Item,
    ItemState,
    OnError,
    Order,
    new_batch_id,
)
from lookalike_serving.batches.runner import Runner
from lookalike_serving.batches.staging import Staging
from lookalike_serving.batches.store import CHUNK, BatchStore
from lookalike_serving.batches.submission import Reading, Stage
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.problems import Problem


class Batches:
    """All batches of this service. The runner works from `start` until `close`."""

    def __init__(self, store: BatchStore, staging: Staging, runner: Runner, inline: Inline) -> None:
        self._store = store
        self._staging = staging
        self._runner = runner
        self._inline = inline
        self._keys: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._control = asyncio.Lock()
        self._removals: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._runner.start()

    async def close(self) -> None:
        await self._runner.close()
        await asyncio.gather(*self._removals, return_exceptions=True)

    async def submit(
        self,
        collection: CollectionConfig,
        read: Callable[[Stage], Reading],
        on_error: OnError | None,
        key: str | None,
    ) -> tuple[Batch, bool]:
        """Accept the items of a request; returns the batch, and whether it is new.

        When this returns, the batch survives any end of the process. `on_error` applies if the body
        does not set it. Raises Problem 422 (a wrong request; a key used for another one), NoRoom.
        """
        now = datetime.now(UTC)
        order = Order(new_batch_id(now), collection.name, 0, OnError.CONTINUE, now)
        intake = Intake(order, collection, self._store, self._staging, self._inline)
        published = False
        try:
            self._staging.check_room()
            await self._store.reserve(order)
            reading = read(intake.stage)
            await intake.take(reading)
            asked = reading.on_error or on_error or OnError.CONTINUE
            order = replace(intake.order, on_error=asked)
            async with self._keys[collection.name, key or order.id]:
                existing = await self._known(order, key)
                if existing is None:
                    await self._store.publish(order, intake.progress, key)
                    published = True
        finally:
            self._keys.pop((collection.name, key or order.id), None)
            if not published:
                await asyncio.shield(self._discard(order.id, intake.taken))
        if existing is not None:
            return existing, False
        self._runner.look()
        return await self.batch(order.id), True

    async def batch(self, id: str) -> Batch:
        """Raises Problem 404."""
        batch = await self._store.batch(id)
        if batch is None:
            detail = f"There is no batch {id[:80]!r}. Batches are deleted 30 days after their end."
            raise Problem(NOT_FOUND, detail)
        return batch

    async def page(
        self, collection: str | None, state: BatchState | None, after: str | None, limit: int
    ) -> tuple[list[Batch], str | None]:
        """Batches, newest first, and the id after which the next page begins."""
        found: list[Batch] = []
        async for batch in self._store.batches(after):
            if collection not in (None, batch.order.collection) or state not in (None, batch.state):
                continue
            if len(found) == limit:
                return found, found[-1].order.id
            found.append(batch)
        return found, None

    async def items(
        self, batch: Batch, state: ItemState | None, start: int, limit: int
    ) -> tuple[list[Item], int | None]:
        """Items in the request's order from position `start`, and where the next page begins."""
        found: list[Item] = []
        for low in range(start, batch.order.total, CHUNK):
            high = min(low + CHUNK, batch.order.total)
            for item in await self._store.items(batch.order.id, low, high):
                if state in (None, item.state(batch)):
                    if len(found) == limit:
                        return found, item.position
                    found.append(item)
        return found, None

    async def cancel(self, id: str) -> Batch:
        """Start no further items.

        The batch is CANCELLED, and its counts are final, when the items in progress have ended;
        until then it is CANCELLING. Cancelling it again changes nothing. Raises Problem 404, 409.
        """
        async with self._control:
            batch = await self.batch(id)
            if batch.state in (BatchState.CANCELLING, BatchState.CANCELLED):
                return batch
            if not batch.state.active:
                raise Problem(
                    BATCH_FINISHED,
                    f"Batch {id} is {batch.state} already: there is nothing left to cancel.",
                )
            control = replace(batch.control, cancelled=batch.control.attempt)
            await self._store.save_control(id, control)
        self._runner.stop(id)
        return await self.batch(id)

    async def retry(self, id: str) -> Batch:
        """Queue the failed items again, and those that a stopped batch did not try.

        Raises Problem 404, 409.
        """
        async with self._control:
            batch = await self.batch(id)
            if batch.state.active:
                raise Problem(
                    BATCH_ACTIVE,
                    f"Batch {id} is {batch.state}: wait until it has finished or cancel it, and "
                    "then retry it.",
                )
            counts = batch.counts
            if counts.failed + counts.queued == 0:
                raise Problem(
                    NOTHING_TO_RETRY, f"Batch {id} is {batch.state} and has no failed items."
                )
            control = replace(batch.control, attempt=batch.control.attempt + 1)
            await self._store.save_control(id, control)
        self._runner.look()
        return await self.batch(id)

    async def _known(self, order: Order, key: str | None) -> Batch | None:
        if key is None:
            return None
        existing = await self._store.batch_of_key(order.collection, key)
        if existing is not None and (
            existing.order.request_digest != order.request_digest
            or existing.order.on_error is not order.on_error
        ):
            raise Problem(
                IDEMPOTENCY_KEY_REUSED,
                f"Idempotency-Key {key[:80]!r} was used for batch {existing.order.id} with "
                "another request: send a new key for a new batch.",
            )
        return existing

    async def _discard(self, batch: str, items: int) -> None:
        """Nobody waits for the files: ten thousand take seconds to remove.

        If some stay behind, because the index is away or the process is killed, the runner's sweep
        removes them.
        """
        removal = asyncio.create_task(asyncio.to_thread(self._staging.remove_batch, batch))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)
        with contextlib.suppress(IndexFailure, Problem, OSError):
            await self._store.delete(batch, min(items + 1, MAX_ITEMS))
