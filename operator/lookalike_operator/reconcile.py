"""One reconcile of one resource: observe -> plan -> apply.

It is level-triggered: it needs no event to be right, and may be repeated or cut off anywhere.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lookalike_operator.apply.children import OwnerGone
from lookalike_operator.apply.execute import INDEX_UNAVAILABLE, Executor, Outcome
from lookalike_operator.cluster import ApiError
from lookalike_operator.engine.queue import SOON_SECONDS, Turn
from lookalike_operator.engine.workers import Verdict
from lookalike_operator.observe.memory import Memory
from lookalike_operator.observe.qdrant import IndexUnavailable
from lookalike_operator.observe.resources import (
    collection_status,
    meta_of,
    parsed_collection,
    retriever_status,
)
from lookalike_operator.observe.snapshots import Observer
from lookalike_operator.plan.changes import Changes, changes
from lookalike_operator.plan.diff import in_words
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    IndexOp,
    Key,
    Manifest,
    Plan,
    RetrieverSnapshot,
    Trouble,
)
from lookalike_operator.plan.names import Owner, index_owner
from lookalike_operator.plan.unforeseen import plan_unforeseen

log = logging.getLogger(__name__)

_RESTLESS = 20
"""So many reconciles in a row that each wrote something do not converge."""
_SECRETS_SECONDS = 20.0
_FOREIGN_SECONDS = 60.0
"""Nothing reports that a missing Secret appears, or that an object in the way is gone."""


@dataclass(frozen=True, slots=True)
class Planner:
    """The two entry points of planning."""

    collection: Callable[[CollectionSnapshot], Plan]
    retriever: Callable[[RetrieverSnapshot], Plan]


@dataclass(frozen=True, slots=True)
class _Planned:
    plan: Plan
    changes: Changes = field(default_factory=Changes)
    """What the plan comes to, beside the live objects of its snapshot."""
    lacks_secrets: bool = False


class Reconciler:
    def __init__(
        self, observer: Observer, executor: Executor, memory: Memory, planner: Planner
    ) -> None:
        self._observer = observer
        self._executor = executor
        self._memory = memory
        self._planner = planner

    async def look(self, turn: Turn) -> Verdict:
        """Raises ApiError if the API server is away or busy: there is nobody to tell."""
        key = turn.key
        live = self._observer.store.resource(key)
        if live is None:
            self._memory.forget(key)
            return Verdict(gone=True)
        started = time.monotonic()
        owner = Owner(key.kind, meta_of(live))
        planned, failure = await self._plan(key, live, owner)
        plan = planned.plan
        try:
            outcome = await self._executor.execute(
                key, live, owner, plan, planned.changes, lambda op: self._perform(live, op)
            )
        except OwnerGone as gone:
            log.info("%s", gone, extra={"key": str(key)})
            self._observer.store.drop_resource(key, owner.meta.uid)
            return Verdict(gone=self._observer.store.resource(key) is None, again=0.0)
        if failure is not None:
            outcome = replace(outcome, failure=failure)
        self._log(turn, planned, outcome, time.monotonic() - started)
        again = _soonest(
            plan.requeue_after,
            _SECRETS_SECONDS if planned.lacks_secrets else None,
            _FOREIGN_SECONDS if outcome.foreign else None,
        )
        return self._verdict(key, plan, outcome, again)

    async def _plan(self, key: Key, live: Manifest, owner: Owner) -> tuple[_Planned, str | None]:
        """(what is planned, why there could be no real plan)"""
        try:
            return await self._planned(key, live, owner), None
        except Exception as error:
            if isinstance(error, ApiError):
                if error.passes:
                    raise
                said = f"the operator may not read what it needs: {error.message}"
            else:
                said = " ".join(f"{type(error).__name__}: {error}".split())
            # A defect must not be silent: the log has the traceback, the status one line of it.
            log.exception("no plan could be made", extra={"key": str(key)})
            status = collection_status if key.kind == "ImageCollection" else retriever_status
            trouble = Trouble("Unforeseen", said)
            plan = plan_unforeseen(owner.meta, status(live), trouble, self._observer.now())
            return _Planned(plan), type(error).__name__

    async def _planned(self, key: Key, live: Manifest, owner: Owner) -> _Planned:
        snapshot: CollectionSnapshot | RetrieverSnapshot
        if key.kind == "ImageCollection":
            snapshot = await self._observer.collection(key, live)
            plan = self._planner.collection(snapshot)
        else:
            snapshot = await self._observer.retriever(key, live)
            plan = self._planner.retriever(snapshot)
        lacks_secrets = bool(snapshot.missing_secrets)
        return _Planned(plan, changes(owner, snapshot, plan), lacks_secrets)

    async def _perform(self, live: Manifest, op: IndexOp) -> None:
        """Index operations are about the collection's own server."""
        spec, _ = parsed_collection(live)
        server = None if spec is None else await self._observer.server(meta_of(live), spec)
        if server is None:
            raise IndexUnavailable(
                "spec.index.qdrant names no server that the operator may connect to"
            )
        owner = index_owner(meta_of(live), self._observer.settings.cluster_id)
        await self._observer.qdrant.perform(server, op, owner)

    def _verdict(self, key: Key, plan: Plan, outcome: Outcome, again: float | None) -> Verdict:
        remembered = self._memory.of(key)
        met = (remembered.foreign, remembered.refused, remembered.trouble)
        remembered.foreign, remembered.refused = outcome.foreign, outcome.refused
        remembered.trouble = outcome.trouble
        if (deletion := plan.deletion) is not None:
            if outcome.failure == INDEX_UNAVAILABLE and deletion.failing_since is None:
                deletion = replace(deletion, failing_since=self._observer.now())
            remembered.deletion = deletion
        if plan.recommendation is not None:
            remembered.recommend(plan.recommendation)
        progress = bool(outcome.written) and remembered.restless <= _RESTLESS
        if outcome.failure is not None:
            remembered.restless += progress
            return Verdict(failure=outcome.failure, at_least=outcome.retry_after, progress=progress)
        if not outcome.written and met == (outcome.foreign, outcome.refused, None):
            remembered.restless = 0
            return Verdict(again=again)
        # What was written or met may change the plan: one more look tells.
        remembered.restless += 1
        if remembered.restless > _RESTLESS:
            return Verdict(failure="NotConverging")
        return Verdict(again=SOON_SECONDS)

    def _log(self, turn: Turn, planned: _Planned, outcome: Outcome, seconds: float) -> None:
        level = logging.INFO if outcome.written else logging.DEBUG
        if outcome.failure is not None:
            level = logging.WARNING
        if not log.isEnabledFor(level):
            return
        log.log(
            level,
            "%s",
            outcome.message or "; ".join(outcome.written) or "nothing to do",
            extra={
                "key": str(turn.key),
                "because": list(turn.reasons),
                "seconds": round(seconds, 4),
                "waited": round(turn.waited, 3),
                "reasons": list(in_words(planned.plan, planned.changes)),
                **({"failure": outcome.failure} if outcome.failure else {}),
            },
        )


def _soonest(*seconds: float | None) -> float | None:
    given = [each for each in seconds if each is not None]
    return min(given) if given else None
