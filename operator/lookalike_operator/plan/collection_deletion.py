"""A collection that is being deleted: its index on a Qdrant server goes first, if it is to go.

The wait is bounded. A server that does not answer for so long keeps the index, and an event says
which one to delete by hand: a namespace is never wedged by what cannot be reached.
"""

from __future__ import annotations

from dataclasses import replace

from lookalike_crds.image_collection import DeletionPolicy, Engine
from lookalike_operator.plan import indexes
from lookalike_operator.plan.causes import UNREACHABLE
from lookalike_operator.plan.conditions import judged, merged
from lookalike_operator.plan.model import CollectionSnapshot, Event, IndexAction, IndexOp, Plan
from lookalike_operator.plan.names import FINALIZER, Owner
from lookalike_operator.plan.runs import own_jobs

GIVE_UP_SECONDS = 300.0
_AGAIN_SECONDS = 15.0


def plan_deletion(snapshot: CollectionSnapshot, owner: Owner) -> Plan:
    """Stop what writes, delete the index, let go."""
    if FINALIZER not in snapshot.meta.finalizers:
        # What is left has an owner reference or is to stay: the garbage collector's business.
        return Plan(hands_off=True)
    spec = snapshot.spec
    letting_go = Plan(hands_off=True, remove_finalizer=True)
    if (
        spec is None
        or spec.index.engine is Engine.EDGE
        or spec.deletion_policy is DeletionPolicy.RETAIN
    ):
        return letting_go
    names = dict.fromkeys(
        (
            indexes.active(snapshot.meta, spec, snapshot.status)[0],
            indexes.wanted_index(snapshot.meta, spec),
        )
    )
    facts = snapshot.index
    error = "the server was not asked" if facts is None else facts.error
    if _waited(snapshot) >= GIVE_UP_SECONDS:
        why = error or "its ingestion pods do not end"
        return replace(
            letting_go,
            events=(
                Event(
                    "Warning",
                    "IndexOrphaned",
                    f"index {', '.join(names)} stays on the Qdrant server, which could not be "
                    f"reached for {GIVE_UP_SECONDS:g} s ({why}): delete it there",
                ),
            ),
        )
    if own_jobs(snapshot, owner) or snapshot.pods:
        # An ingestion pod would make the index anew. No objects: all children are deleted.
        return _waiting(snapshot, Plan(), "StoppingIngestion", "ingestion pods are ending")
    if error is not None:
        return _waiting(snapshot, Plan(hands_off=True), UNREACHABLE, error)
    return Plan(
        hands_off=True,
        index_ops=tuple(IndexOp(IndexAction.DELETE, name) for name in names),
        remove_finalizer=True,
    )


def _waited(snapshot: CollectionSnapshot) -> float:
    started = snapshot.meta.deletion_started
    return 0.0 if started is None else (snapshot.now - started).total_seconds()


def _waiting(snapshot: CollectionSnapshot, plan: Plan, reason: str, message: str) -> Plan:
    left = max(0.0, GIVE_UP_SECONDS - _waited(snapshot))
    told = judged("Ready", False, "Deleting", f"{reason}: {message}")
    status = snapshot.status.model_copy(
        update={
            "conditions": merged(
                snapshot.status.conditions, (told,), snapshot.meta.generation, snapshot.now
            )
        }
    )
    return replace(
        plan,
        status=status.model_dump(mode="json", by_alias=True, exclude_none=True),
        requeue_after=min(_AGAIN_SECONDS, left),
    )
