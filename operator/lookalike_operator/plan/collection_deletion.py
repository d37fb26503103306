"""A collection that is being deleted: its index on a Qdrant server is deleted first, if at all.

Every reconcile tries to delete the index. Only if every attempt has failed for GIVE_UP_SECONDS, the
index is given up, and an event says which one to delete by hand: a server that cannot be reached
never blocks the deletion of a namespace. The time counts from the first attempt that failed, and
not from the request to delete the collection, because the operator may not have been running since.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from lookalike_crds.image_collection import DeletionPolicy, Engine
from lookalike_operator.plan import indexes
from lookalike_operator.plan.conditions import judged, merged
from lookalike_operator.plan.model import (
    QDRANT_UNAVAILABLE,
    CollectionSnapshot,
    Deletion,
    Event,
    IndexAction,
    IndexOp,
    Plan,
)
from lookalike_operator.plan.names import FINALIZER, Owner
from lookalike_operator.plan.runs import own_jobs, scheduled_jobs

GIVE_UP_SECONDS = 300.0
_AGAIN_SECONDS = 15.0


def plan_deletion(snapshot: CollectionSnapshot, owner: Owner) -> Plan:
    """Stop the writers, delete the index, remove the finalizer."""
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
    names = tuple(
        dict.fromkeys(
            (
                indexes.active(snapshot.meta, spec, snapshot.status)[0],
                indexes.index_of(snapshot, spec),
                *indexes.kept(snapshot.status),
            )
        )
    )
    before, now = snapshot.deletion, snapshot.now
    warnings: tuple[Event, ...] = ()
    # Those of CronJobs go with them.
    scheduled = [job for job in scheduled_jobs(snapshot, owner) if owner.owns(job)]
    if own_jobs(snapshot, owner) or scheduled or snapshot.pods:
        since = before.stopping_since or now
        if _seconds(since, now) < GIVE_UP_SECONDS:
            # An ingestion pod would make the index again. No objects: all children are deleted.
            held_up = Deletion(stopping_since=since)
            return _waiting(
                snapshot, Plan(), held_up, since, "StoppingIngestion", "ingestion pods are ending"
            )
        warnings = (_pods_remain(snapshot, names, since),)
    facts = snapshot.index
    error = "the server was not asked" if facts is None else facts.error
    since = before.failing_since or now
    over = before.failing_since is not None and _seconds(since, now) >= GIVE_UP_SECONDS
    if error is not None:
        if over:
            given_up = orphaned(_left(names, since, now), error)
            return replace(letting_go, events=(*warnings, given_up))
        held_up = replace(before, failing_since=since)
        return _waiting(snapshot, Plan(hands_off=True), held_up, since, QDRANT_UNAVAILABLE, error)
    return Plan(
        hands_off=True,
        index_ops=tuple(IndexOp(IndexAction.DELETE, name) for name in names),
        remove_finalizer=True,
        giving_up=_left(names, since, now) if over else None,
        deletion=before,
        events=warnings,
    )


def orphaned(left: str, error: str) -> Event:
    """`left`: `Plan.giving_up`."""
    return Event("Warning", "IndexOrphaned", f"{left} ({error}): delete it there")


def _left(names: tuple[str, ...], since: datetime, now: datetime) -> str:
    return (
        f"index {', '.join(names)} stays on the Qdrant server: every attempt to delete it has "
        f"failed for {_seconds(since, now):.0f} s"
    )


def _pods_remain(snapshot: CollectionSnapshot, names: tuple[str, ...], since: datetime) -> Event:
    pods = [pod["metadata"]["name"] for pod in snapshot.pods]
    return Event(
        "Warning",
        "PodsRemain",
        f"ingestion pods ({', '.join(sorted(pods)[:3]) or 'of its Jobs'}) have not ended for "
        f"{_seconds(since, snapshot.now):.0f} s: index {', '.join(names)} is deleted all the same; "
        "delete it again if they create it again",
    )


def _seconds(since: datetime, now: datetime) -> float:
    return (now - since).total_seconds()


def _waiting(
    snapshot: CollectionSnapshot,
    plan: Plan,
    held_up: Deletion,
    since: datetime,
    reason: str,
    message: str,
) -> Plan:
    left = max(0.0, GIVE_UP_SECONDS - _seconds(since, snapshot.now))
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
        deletion=held_up,
        status=status.model_dump(mode="json", by_alias=True, exclude_none=True),
        requeue_after=min(_AGAIN_SECONDS, left),
    )
