"""One look at one resource: observe -> plan -> apply.

Level-triggered: a look needs no event to be right, and may be repeated or cut off anywhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from lookalike_operator.apply.children import OwnerGone
from lookalike_operator.apply.execute import Executor, Outcome
from lookalike_operator.engine.queue import Turn
from lookalike_operator.engine.workers import Verdict
from lookalike_operator.observe.memory import Memory
from lookalike_operator.observe.qdrant import IndexUnavailable
from lookalike_operator.observe.resources import meta_of, parsed_collection
from lookalike_operator.observe.snapshots import Observer
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    IndexOp,
    Key,
    Manifest,
    Plan,
    RetrieverSnapshot,
)
from lookalike_operator.plan.names import Owner

log = logging.getLogger(__name__)

_RESTLESS = 20
"""So many looks in a row that each wrote something are no convergence."""
_SECRETS_SECONDS = 20.0
_FOREIGN_SECONDS = 60.0
"""Nobody tells us when a missing Secret appears, or when an object in the way is gone."""


@dataclass(frozen=True, slots=True)
class Planner:
    """The two entry points of planning."""

    collection: Callable[[CollectionSnapshot], Plan]
    retriever: Callable[[RetrieverSnapshot], Plan]


class Reconciler:
    def __init__(
        self, observer: Observer, executor: Executor, memory: Memory, planner: Planner
    ) -> None:
        self._observer = observer
        self._executor = executor
        self._memory = memory
        self._planner = planner

    async def look(self, turn: Turn) -> Verdict:
        """Raises ApiError where the resource could not even be observed."""
        key = turn.key
        live = self._observer.store.resource(key)
        if live is None:
            self._memory.forget(key)
            return Verdict(gone=True)
        started = time.monotonic()
        plan, lacks_secrets = await self._plan(key, live)
        owner = Owner(key.kind, meta_of(live))
        try:
            outcome = await self._executor.execute(
                key, live, owner, plan, lambda op: self._perform(live, op)
            )
        except OwnerGone as gone:
            log.info("%s", gone, extra={"key": str(key)})
            self._observer.store.drop_resource(key, owner.meta.uid)
            return Verdict(gone=self._observer.store.resource(key) is None, again=0.0)
        self._log(turn, plan, outcome, time.monotonic() - started)
        again = _soonest(
            plan.requeue_after,
            _SECRETS_SECONDS if lacks_secrets else None,
            _FOREIGN_SECONDS if outcome.foreign else None,
        )
        return self._verdict(key, plan, outcome, again)

    async def _plan(self, key: Key, live: Manifest) -> tuple[Plan, bool]:
        """(plan, whether Secrets are missing)"""
        if key.kind == "ImageCollection":
            collection = await self._observer.collection(key, live)
            return self._planner.collection(collection), bool(collection.missing_secrets)
        retriever = await self._observer.retriever(key, live)
        return self._planner.retriever(retriever), bool(retriever.missing_secrets)

    async def _perform(self, live: Manifest, op: IndexOp) -> None:
        """Index operations are about the collection's own server."""
        spec, _ = parsed_collection(live)
        server = None if spec is None else await self._observer.server(meta_of(live), spec)
        if server is None:
            raise IndexUnavailable("spec.index.qdrant names no server: set url or serviceRef")
        await self._observer.qdrant.perform(server, op)

    def _verdict(self, key: Key, plan: Plan, outcome: Outcome, again: float | None) -> Verdict:
        remembered = self._memory.of(key)
        met = (remembered.foreign, remembered.refused)
        remembered.foreign, remembered.refused = outcome.foreign, outcome.refused
        if plan.recommendation is not None:
            remembered.recommend(plan.recommendation)
        progress = bool(outcome.written) and remembered.restless <= _RESTLESS
        if outcome.failure is not None:
            remembered.restless += progress
            return Verdict(failure=outcome.failure, at_least=outcome.retry_after, progress=progress)
        if not outcome.written and met == (outcome.foreign, outcome.refused):
            remembered.restless = 0
            return Verdict(again=again)
        # What was written or met may change the plan: one more look tells, and costs no API call.
        remembered.restless += 1
        if remembered.restless > _RESTLESS:
            return Verdict(failure="NotConverging")
        return Verdict(again=0.0)

    def _log(self, turn: Turn, plan: Plan, outcome: Outcome, seconds: float) -> None:
        level = logging.INFO if outcome.written else logging.DEBUG
        if outcome.failure is not None:
            level = logging.WARNING
        log.log(
            level,
            "%s",
            outcome.message or "; ".join(outcome.written) or "nothing to do",
            extra={
                "key": str(turn.key),
                "because": list(turn.reasons),
                "seconds": round(seconds, 4),
                "waited": round(turn.waited, 3),
                "reasons": list(plan.reasons),
                **({"failure": outcome.failure} if outcome.failure else {}),
            },
        )


def _soonest(*seconds: float | None) -> float | None:
    given = [each for each in seconds if each is not None]
    return min(given) if given else None
