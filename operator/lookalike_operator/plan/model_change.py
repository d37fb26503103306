"""A changed model of a collection: what fills its index, what holds it back, what is kept after.

The rules are those of one machine (`lookalike_crds.switching`). Annotations are what a person
decides: `lookalike.dev/switch` lets a filled index answer whatever holds it back, and
`lookalike.dev/rollback` returns to the former model (`plan.indexes.effective`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lookalike_crds.config import CarryOver
from lookalike_crds.image_collection import (
    Engine,
    GateStatus,
    ImageCollectionSpec,
    ImageCollectionStatus,
    PreviousModel,
    RunStatus,
)
from lookalike_crds.naming import described
from lookalike_crds.progress import Counts, GateResult
from lookalike_crds.switching import Held, kept_for, why_held
from lookalike_operator.plan import indexes
from lookalike_operator.plan.causes import Cause
from lookalike_operator.plan.conditions import parsed, timestamp
from lookalike_operator.plan.model import CollectionSnapshot, IndexAction, IndexOp, Meta
from lookalike_operator.plan.names import ROLLBACK, RUN_NOW, SWITCH
from lookalike_operator.plan.runs import gateway_of
from lookalike_operator.plan.serving_config import index_config

_SETTLES_AFTER = timedelta(seconds=60)
"""Pods of the former model may still store documents for so long after a change."""
_WAITS_SECONDS = 15.0
"""How often it is looked whether what is due can be done."""
_LONGEST_MESSAGE = 1024
_DELETED_FOR = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Carried:
    """What a run carries documents over from."""

    over: CarryOver
    late: bool
    """The present model answers already: the run takes what was stored during the change."""


def carried(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> Carried | None:
    """None: no other index has documents that the wanted one may lack."""
    meta, status = snapshot.meta, snapshot.status
    name, model = indexes.active(meta, spec, status)
    late = False
    if name == indexes.index_of(snapshot, spec):
        former = indexes.unsettled(status)
        if former is None:
            return None
        (name, model), late = former, True
    elif not _holds_documents(snapshot, name) or _sources_have_all(snapshot):
        return None
    on_server = None
    if spec.index.engine is Engine.QDRANT:
        on_server = index_config(name, meta, spec, snapshot.settings)
    return Carried(CarryOver(index=name, model=model.own, on_server=on_server), late)


def _holds_documents(snapshot: CollectionSnapshot, name: str) -> bool:
    """Whether the index that answers may hold something. Of an Edge index only its pod knows."""
    facts = snapshot.index
    if facts is None or facts.error is not None or facts.name != name:
        return snapshot.status.index_name is not None
    return facts.exists and facts.points != 0 and not _is_anothers(snapshot)


def _sources_have_all(snapshot: CollectionSnapshot) -> bool:
    """Of a collection that no Retriever serves: whether no image needs to be read through one."""
    facts = snapshot.index
    return gateway_of(snapshot) is None and facts is not None and facts.only_here == 0


def _is_anothers(snapshot: CollectionSnapshot) -> bool:
    facts = snapshot.index
    return facts is not None and indexes.is_taken(
        snapshot.meta, facts, snapshot.settings.cluster_id
    )


def why_not_carried_yet(snapshot: CollectionSnapshot, carry: Carried) -> Cause | None:
    """Why a run that carries documents over is not started yet."""
    gateway = gateway_of(snapshot)
    if gateway is None:
        return Cause(
            "WaitingForRetriever",
            f"documents are carried over to another model through a Retriever, which reads their "
            f"stored images, and none names {snapshot.meta.name} in its collections: create one",
        )
    if not gateway.available:
        return Cause(
            "WaitingForRetriever", f"starts when Retriever {gateway.meta.name} is available"
        )
    previous = snapshot.status.previous
    if carry.late and previous is not None:
        since = parsed(previous.since)
        if since is not None and snapshot.now - since < _SETTLES_AFTER:
            return Cause(
                "Settling",
                "documents that were stored during the change of the model are carried over in a "
                "minute",
            )
        if snapshot.report.index == previous.index:
            return Cause(
                "Settling",
                f"Retriever {gateway.meta.name} still answers from index {previous.index} of the "
                "former model; what is stored there is carried over when it has switched",
            )
    return None


def held(
    snapshot: CollectionSnapshot, spec: ImageCollectionSpec, run: RunStatus | None
) -> Held | None:
    """Why the index that the run has filled does not answer; None if it may."""
    wanted = indexes.index_of(snapshot, spec)
    if run is None or snapshot.meta.annotations.get(SWITCH) == wanted:
        return None
    counts = None if run.not_carried is None else Counts(failed=run.not_carried)
    gate = run.gate
    measured = None
    if gate is not None:
        measured = GateResult(passed=gate.passed, queries=gate.queries, told=gate.message)
    found = why_held(counts, run.not_carried_documents, spec.model.gate, measured)
    if found is None:
        return None
    name, model = indexes.active(snapshot.meta, spec, snapshot.status)
    return Held(
        found.reason,
        f"{found.message}. {described(model)} keeps answering from index {name}. Correct the cause "
        f"and give the annotation {RUN_NOW} a new value; or let the new model answer with "
        f"`kubectl annotate imagecollection {snapshot.meta.name} {SWITCH}={wanted}`",
    )


def previous_after(
    snapshot: CollectionSnapshot, spec: ImageCollectionSpec, name: str, *, is_level: bool
) -> PreviousModel | None:
    """What the status keeps of the former model, if `name` answers from now on."""
    status = snapshot.status
    before = status.index_name
    if before is not None and before != name and status.active_model_spec is not None:
        until = snapshot.now + kept_for(spec.model.keep_previous)
        return PreviousModel(
            index=before,
            model_spec=status.active_model_spec,
            since=timestamp(snapshot.now),
            until=timestamp(until),
            level=_is_anothers(snapshot),
        )
    previous = status.previous
    if previous is None or previous.removed:
        return previous
    if is_level and not previous.level:
        return previous.model_copy(update={"level": True})
    gone = previous.model_copy(update={"removed": True})
    return gone if expires(snapshot, spec) else previous


def expires(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> bool:
    """Whether the former index is given up now."""
    previous = snapshot.status.previous
    if previous is None or previous.removed or previous.index in _in_use(snapshot, spec):
        return False
    if not previous.level and snapshot.retrievers:
        return False
    until = parsed(previous.until)
    return until is not None and snapshot.now >= until


def removal(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> tuple[IndexOp, ...]:
    """Deletes the former index on a server. The pod of an Edge index deletes it itself.

    The status says that it is removed before it is, so it is deleted again for a while.
    """
    previous = snapshot.status.previous
    if previous is None or spec.index.engine is Engine.EDGE:
        return ()
    until = parsed(previous.until)
    just_removed = previous.removed and until is not None and snapshot.now - until < _DELETED_FOR
    if previous.index in _in_use(snapshot, spec):
        return ()
    if not just_removed and not expires(snapshot, spec):
        return ()
    return (IndexOp(IndexAction.DELETE, previous.index),)


def _in_use(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> tuple[str, str]:
    """The index that answers, and the one that is to."""
    active = indexes.active(snapshot.meta, spec, snapshot.status)[0]
    return active, indexes.index_of(snapshot, spec)


def gate_status(measured: GateResult | None) -> GateStatus | None:
    """What the status reports of a gate."""
    if measured is None:
        return None
    return GateStatus(
        passed=measured.passed,
        queries=measured.queries,
        overlap=measured.overlap,
        recall=measured.recall,
        latency_factor=measured.latency_factor,
        message=measured.told[:_LONGEST_MESSAGE],
    )


def passed(run: RunStatus | None) -> str:
    """For the event of a change: what was measured before."""
    return "" if run is None or run.gate is None else f" ({run.gate.message})"


def kept(meta: Meta, previous: PreviousModel | None, name: str) -> str:
    """For the event of a change: what becomes of the former index, now that `name` answers."""
    if previous is None:
        return "`lookalike gc` deletes the index of the former model"
    return (
        f"index {previous.index} of the former model is kept until {previous.until}: to return to "
        f"it, `kubectl annotate imagecollection {meta.name} {ROLLBACK}={name}`"
    )


def seconds_left(status: ImageCollectionStatus, now: datetime) -> float | None:
    """Until something is due about the former index."""
    previous = status.previous
    if previous is None or previous.removed:
        return None
    due = parsed(previous.until) if previous.level else None
    if not previous.level and (since := parsed(previous.since)) is not None:
        due = since + _SETTLES_AFTER
    if due is None:
        return None
    left = (due - now).total_seconds()
    return max(1.0, left) if left > 0 else _WAITS_SECONDS
