"""One plan, carried out in the order of its fields. Any step may be the last.

    finalizer -> objects -> once -> prune -> index -> status -> finalizer off -> events

The status is written even where a step failed, since it says why nothing happens. What is to be
deleted outside of Kubernetes is gone before the finalizer is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from lookalike_operator.apply.children import Children, Look, Refused
from lookalike_operator.apply.events import EventWriter
from lookalike_operator.apply.status import add_finalizer, remove_finalizer, write_status
from lookalike_operator.cluster import Cluster
from lookalike_operator.observe.qdrant import IndexUnavailable
from lookalike_operator.observe.store import Change, Store
from lookalike_operator.plan.model import IndexOp, Key, Manifest, ObjectRef, Plan, ref_of
from lookalike_operator.plan.names import Owner

PerformIndexOp = Callable[[IndexOp], Awaitable[None]]
"""Raises IndexUnavailable."""


@dataclass(frozen=True, slots=True)
class Outcome:
    written: tuple[str, ...] = ()
    """What was changed, in words; empty at rest."""
    foreign: tuple[ObjectRef, ...] = ()
    refused: tuple[tuple[ObjectRef, str], ...] = ()
    failure: str | None = None
    """Some of it is to be tried again: the reason, in one word."""
    message: str = ""
    """About the failure."""


class Executor:
    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        children: Children,
        events: EventWriter,
        on_change: Callable[[Change], None],
    ) -> None:
        """`on_change` hears what our own writes change, since the watch brings no news of it."""
        self._cluster = cluster
        self._store = store
        self._children = children
        self._events = events
        self._on_change = on_change

    async def execute(
        self, key: Key, live: Manifest, owner: Owner, plan: Plan, perform: PerformIndexOp
    ) -> Outcome:
        """`live`: the resource as planned for. Raises OwnerGone, and ApiError where nothing more
        can be done at the moment."""
        written: list[str] = []
        if plan.add_finalizer:
            live = self._stored(live, await add_finalizer(self._cluster, live), written)
        look = self._children.look(key, owner)
        refused: tuple[tuple[ObjectRef, str], ...] = ()
        failure, message = None, ""
        if not plan.hands_off:
            try:
                await self._objects(look, plan)
            except Refused as error:
                refused = ((error.ref, error.error.message),)
                failure, message = f"Refused{error.error.reason}", str(error)
            written += look.written
        try:
            for op in plan.index_ops:
                await perform(op)
                written.append(
                    f"index {op.index}: {op.action.value} {' '.join(op.argument)}".rstrip()
                )
        except IndexUnavailable as error:
            failure, message = "IndexUnavailable", str(error)
        if plan.status:
            live = self._stored(live, await write_status(self._cluster, live, plan.status), written)
        if plan.remove_finalizer and failure is None:
            live = self._stored(live, await remove_finalizer(self._cluster, live), written)
        await self._events.write(live, plan.events)
        return Outcome(tuple(written), tuple(look.foreign), refused, failure, message)

    async def _objects(self, look: Look, plan: Plan) -> None:
        await look.apply(plan.objects)
        await look.create(plan.once)
        await look.prune([*map(ref_of, (*plan.objects, *plan.once)), *plan.keep])

    def _stored(self, before: Manifest, after: Manifest, written: list[str]) -> Manifest:
        if after is before:
            return before
        if (change := self._store.put(after)) is not None:
            # A Retriever that has become available is what its collections wait for.
            self._on_change(change)
        if after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]:
            written.append("status")
        return after
