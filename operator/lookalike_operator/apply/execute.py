"""Carries out one plan, in the order of its fields. Any step may be the last.

    finalizer -> status -> objects -> once -> delete -> index -> finalizer off -> events

The status describes the snapshot that the plan was made from, and not how carrying out the plan
went, which the next reconcile reports. So it is written early. It is then reported whatever happens
afterwards, including a bug of ours. Besides, the server accepts it only for that very version of
the resource, and so confirms that the resource exists before children are created for it. What has
to be deleted outside of Kubernetes is deleted before the finalizer is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lookalike_operator.apply.children import Children, Look, OwnerGone, Refused
from lookalike_operator.apply.events import EventWriter
from lookalike_operator.apply.status import add_finalizer, remove_finalizer, write_status
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.observe.qdrant import IndexUnavailable
from lookalike_operator.observe.store import Store
from lookalike_operator.plan.changes import Changes
from lookalike_operator.plan.collection_deletion import orphaned
from lookalike_operator.plan.model import (
    Event,
    IndexOp,
    Key,
    Manifest,
    ObjectRef,
    Plan,
    Trouble,
    ref_of,
)
from lookalike_operator.plan.names import Owner

log = logging.getLogger(__name__)

INDEX_UNAVAILABLE = "IndexUnavailable"
PerformIndexOp = Callable[[IndexOp], Awaitable[None]]
"""Raises IndexUnavailable."""


@dataclass(frozen=True, slots=True)
class Outcome:
    written: tuple[str, ...] = ()
    """What was changed, in words; empty at rest."""
    foreign: tuple[ObjectRef, ...] = ()
    refused: tuple[tuple[ObjectRef, str], ...] = ()
    trouble: Trouble | None = None
    """Other problems that the status should report."""
    failure: str | None = None
    """Some of it should be tried again: the reason, in one word."""
    message: str = ""
    """About the failure."""
    retry_after: float = 0.0
    """Seconds that the server asked us to wait."""


class Executor:
    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        children: Children,
        events: EventWriter,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._children = children
        self._events = events

    async def execute(
        self,
        key: Key,
        live: Manifest,
        owner: Owner,
        plan: Plan,
        changes: Changes,
        perform: PerformIndexOp,
    ) -> Outcome:
        """`live`: the resource that was planned for; `changes`: of that plan. Raises OwnerGone."""
        look = self._children.look(key, owner, first=not live.get("status"))
        run = _Run(self._cluster, self._store, look, live)
        await run.carry_out(plan, changes, perform)
        await self._events.write(run.live, (*plan.events, *run.events))
        return run.outcome()


class _Run:
    """One plan that is being carried out."""

    def __init__(self, cluster: Cluster, store: Store, look: Look, live: Manifest) -> None:
        self._cluster = cluster
        self._store = store
        self._look = look
        self.live = live
        self._written: list[str] = []
        self._refused: tuple[tuple[ObjectRef, str], ...] = ()
        self._trouble: Trouble | None = None
        self._failure: tuple[str, str, float] | None = None
        self.events: tuple[Event, ...] = ()
        """What is to be told of how it went."""

    def _failed(self, reason: str, message: str, retry_after: float = 0.0) -> None:
        """What went wrong first is what is reported."""
        if self._failure is None:
            self._failure = (reason, message, retry_after)

    def outcome(self) -> Outcome:
        reason, message, retry_after = self._failure or (None, "", 0.0)
        return Outcome(
            written=(*self._look.written, *self._written),
            foreign=tuple(self._look.foreign),
            refused=self._refused,
            trouble=self._trouble,
            failure=reason,
            message=message,
            retry_after=retry_after,
        )

    async def carry_out(self, plan: Plan, changes: Changes, perform: PerformIndexOp) -> None:
        """Raises OwnerGone; anything else that goes wrong is in the outcome."""
        held = await self._guarded(self._hold(plan))
        await self._guarded(self._tell(plan))
        if held:
            await self._guarded(self._objects(changes, doubted=plan.doubtful))
            # A child that is refused says nothing about the index.
            await self._guarded(self._index(plan, perform))
        if plan.remove_finalizer and self._failure is None:
            await self._guarded(self._let_go())

    async def _guarded(self, step: Awaitable[None]) -> bool:
        """Whether it went well."""
        try:
            await step
            return True
        except OwnerGone:
            raise
        except Refused as error:
            self._refused = ((error.ref, error.error.message),)
            self._failed(f"Refused{error.error.reason}", str(error))
        except ApiError as error:
            if not error.passes and self._failure is None:
                self._trouble = Trouble("WriteFailed", f"{error.reason}: {error.message}")
            self._failed(error.reason, error.message, error.retry_after or 0.0)
        except Exception as error:
            # A defect of ours: the log has the traceback, the status one line of it.
            log.exception("the plan could not be carried out")
            said = " ".join(f"{type(error).__name__}: {error}".split())
            self._trouble = self._trouble or Trouble("Unforeseen", said)
            self._failed(type(error).__name__, said)
        return False

    async def _hold(self, plan: Plan) -> None:
        if plan.add_finalizer:
            await self._own(add_finalizer(self._cluster, self.live), "finalizer")

    async def _tell(self, plan: Plan) -> None:
        if plan.status:
            await self._own(write_status(self._cluster, self.live, plan.status), "status")

    async def _let_go(self) -> None:
        await self._own(remove_finalizer(self._cluster, self.live), "finalizer")

    async def _index(self, plan: Plan, perform: PerformIndexOp) -> None:
        for op in plan.index_ops:
            try:
                await perform(op)
            except IndexUnavailable as error:
                if plan.giving_up is not None:
                    self.events += (orphaned(plan.giving_up, str(error)),)
                    return
                self._trouble = self._trouble or Trouble("WriteFailed", str(error))
                self._failed(INDEX_UNAVAILABLE, str(error))
                return
            self._written.append(" ".join((op.action.value, op.index, *op.argument)))

    async def _objects(self, changes: Changes, *, doubted: bool) -> None:
        await self._look.apply(changes.objects)
        if self._look.contested is not None:
            message, wait = self._look.contested
            self._trouble = self._trouble or Trouble("FieldsContested", message)
            self._failed("FieldsContested", message, wait)
        await self._look.create(changes.once, doubted=doubted)
        if self._look.emptied is not None:
            self._trouble = self._trouble or Trouble("SecretEmptied", self._look.emptied)
            self._failed("SecretEmptied", self._look.emptied)
        await self._look.delete(changes.deleted)

    async def _own(self, write: Awaitable[Manifest], what: str) -> None:
        """A write to the resource itself."""
        try:
            before, self.live = self.live, await write
        except ApiError as error:
            if error.status == 404:
                raise OwnerGone(f"{ref_of(self.live)} no longer exists") from error
            raise
        after = self.live
        if after is before:
            return
        self._look.owner_is_there()
        self._store.put(after)
        if after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            self._written.append(what)
