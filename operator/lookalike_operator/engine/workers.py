"""A few workers that take keys from the queue and reconcile them, until they are stopped.

A reconcile that fails is logged, counted and repeated after its backoff; no failure ends a worker.
At shutdown, running reconciles may finish within a time limit: one that is cut off is harmless,
since the next one converges, but one that finishes is cheaper.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lookalike_operator.cluster import ApiError
from lookalike_operator.engine.queue import KeyedQueue, Turn
from lookalike_operator.metrics import Metrics

log = logging.getLogger(__name__)

Look = Callable[[Turn], Awaitable["Verdict"]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a reconcile ended."""

    again: float | None = None
    """Seconds until the next reconcile; None: when something changes."""
    gone: bool = False
    """The resource does not exist any more."""
    failure: str | None = None
    """Part of it failed and should be tried again with backoff: the reason, in one word."""
    at_least: float = 0.0
    """Seconds that the server asked us to wait, after a failure."""
    progress: bool = False
    """Something succeeded before it failed: the backoff begins again."""


class Workers:
    def __init__(
        self, queue: KeyedQueue, look: Look, metrics: Metrics, *, count: int, resync: float
    ) -> None:
        self._queue = queue
        self._look = look
        self._metrics = metrics
        self._resync = resync
        self._count = count
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._work(), name=f"worker {i}") for i in range(self._count)
        ]

    @property
    def alive(self) -> bool:
        """Whether all of them are running; the liveness probe reads this."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def abort(self) -> None:
        """Stop all reconciles: this process may not write any more."""
        self._queue.close()
        for task in self._tasks:
            task.cancel()

    async def drain(self, seconds: float) -> None:
        """Start no new reconciles; running ones may finish within `seconds`."""
        self._queue.close()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _work(self) -> None:
        while (turn := await self._queue.take()) is not None:
            started = time.monotonic()
            try:
                verdict = await self._look(turn)
            except ApiError as error:
                verdict = Verdict(failure=error.reason, at_least=error.retry_after or 0.0)
                log.warning(
                    "reconcile failed: %s",
                    error.message,
                    extra={"key": str(turn.key), "reason": error.reason},
                )
            except Exception as error:
                # A defect must not stop the other resources; the log has the traceback.
                verdict = Verdict(failure=type(error).__name__)
                log.exception("look failed", extra={"key": str(turn.key)})
            finally:
                self._queue.done(turn.key)
            self._settle(turn, verdict, time.monotonic() - started)

    def _settle(self, turn: Turn, verdict: Verdict, seconds: float) -> None:
        key = turn.key
        self._metrics.looked(key.kind, "failed" if verdict.failure else "ok", seconds)
        if verdict.failure is not None:
            self._metrics.failed(key.kind, verdict.failure)
            if verdict.progress:
                self._queue.succeeded(key)
            self._queue.failed(key, f"after {verdict.failure}", verdict.at_least)
            return
        self._queue.succeeded(key)
        if verdict.gone:
            self._queue.forget(key)
            return
        # Spread, so that a thousand resources made together are not looked at together for ever.
        resync = self._resync * random.uniform(0.8, 1.2)
        if verdict.again is not None and verdict.again < resync:
            self._queue.add(key, "due", verdict.again)
        else:
            self._queue.add(key, "resync", resync)
