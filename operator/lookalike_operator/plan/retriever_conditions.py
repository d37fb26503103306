"""The conditions of a Retriever, from Ready to Stalled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lookalike_crds.base import Condition
from lookalike_crds.failures import INDEX_CERTIFICATE_REFUSED, OUT_OF_MEMORY
from lookalike_operator.plan.causes import DOWNLOADING, NOT_IN_TIME, UNHEALTHY, Cause
from lookalike_operator.plan.conditions import Judged, judged
from lookalike_operator.plan.model import QDRANT_UNAVAILABLE, RetrieverSnapshot
from lookalike_operator.plan.names import PAUSED
from lookalike_operator.plan.progress import downloading
from lookalike_operator.plan.rollout import Rollout
from lookalike_operator.plan.scaling import Scale
from lookalike_operator.plan.waiting import missing_secrets
from lookalike_operator.plan.who_acts import waits_for_a_person


@dataclass(frozen=True, slots=True)
class Situation:
    """What the conditions are derived from."""

    rollout: Rollout
    scale: Scale | None = None
    """None: nothing is decided while something is in the way."""
    recreates: str | None = None
    """Why old pods end before new ones start."""
    obstacle: Cause | None = None
    lacking: tuple[Cause, ...] = ()
    """What was asked for and cannot be had, without which the endpoint works."""
    refused: Cause | None = None
    """What the API server refuses; everything else is done."""
    paused: bool = False
    suspended: bool = False
    url: str = ""


def judge(snapshot: RetrieverSnapshot, situation: Situation) -> tuple[Judged, ...]:
    """All conditions, in the order they are shown."""
    situation = replace(situation, rollout=_with_cause(snapshot, situation))
    available = _available(situation)
    progressing = _progressing(situation)
    stalled = _stalled(snapshot, situation, (available, progressing))
    scaling = (
        situation.scale.condition
        if situation.scale is not None
        else judged("ScalingActive", False, "Held", "scaling waits for something else")
    )
    degraded = _degraded(snapshot, situation)
    ready = _ready(snapshot, situation, stalled, available, progressing)
    paused = (
        (
            judged(
                "Paused", True, "Annotated", f"annotation {PAUSED} is true: remove it to continue"
            ),
        )
        if situation.paused
        else ()
    )
    return (ready, available, progressing, scaling, degraded, stalled, *paused)


def _stalled(
    snapshot: RetrieverSnapshot, situation: Situation, others: tuple[Judged, ...]
) -> Judged:
    """What a person has to act on, whether or not the endpoint answers in the meantime."""
    missing = missing_secrets(snapshot.missing_secrets) if snapshot.missing_secrets else None
    answers = others[0].holds
    found = (
        situation.obstacle,
        situation.refused,
        _trouble(snapshot),
        # Pods that run do not miss it.
        None if answers else missing,
    )
    for cause in found:
        if cause is not None and cause.stuck:
            return judged("Stalled", True, cause.reason, cause.message)
    for each in others:
        if each.status == "False" and waits_for_a_person(each.reason):
            return judged("Stalled", True, each.reason, each.message)
    return judged("Stalled", False, "AsExpected", "nobody has to act")


def _trouble(snapshot: RetrieverSnapshot) -> Cause | None:
    return None if snapshot.trouble is None else Cause(*snapshot.trouble)


def _available(situation: Situation) -> Judged:
    rollout, scale = situation.rollout, situation.scale
    if scale is not None and scale.idle and rollout.ready == 0:
        # A RayService calls itself ready for its head's proxy alone.
        return judged("Available", True, "Idle", scale.condition.message)
    if rollout.available:
        return judged("Available", True, "ReplicasAvailable", f"{_answer(rollout.ready)} queries")
    if situation.suspended:
        return judged("Available", False, "Suspended", "spec.suspend is true")
    if rollout.cause is not None:
        return judged("Available", False, rollout.cause.reason, rollout.cause.message)
    return judged("Available", False, "Starting", rollout.message)


def _with_cause(snapshot: RetrieverSnapshot, situation: Situation) -> Rollout:
    """The rollout with the cause that is told of it, which is not always the pods' own."""
    rollout, cause = situation.rollout, situation.rollout.cause
    if rollout.complete or situation.suspended:
        return rollout
    only_late = cause is None or not cause.stuck or cause.reason in _OF_THE_INDEX
    if only_late and not rollout.available and (waits := _unreachable_index(snapshot)) is not None:
        return replace(rollout, cause=waits)
    if only_late and (before := _crashed_before(snapshot.status.conditions, snapshot)) is not None:
        return replace(rollout, cause=before)
    if only_late and (told := downloading(snapshot.progress.values())) is not None:
        arrived = f"{told} of the weights of a model have arrived"
        return replace(rollout, cause=Cause(DOWNLOADING, arrived))
    return rollout


_OF_THE_INDEX = frozenset({NOT_IN_TIME, UNHEALTHY})
"""What a canary query that is not answered looks like from outside."""
_LASTING = frozenset({OUT_OF_MEMORY.condition_reason, "CrashLoopBackOff"})


def _crashed_before(conditions: Sequence[Condition], snapshot: RetrieverSnapshot) -> Cause | None:
    """What made pods crash under this very spec, and none has become ready since.

    A pod that is made again, as KubeRay does it, remembers nothing of the one before.
    """
    for each in conditions:
        same = each.observed_generation == snapshot.meta.generation
        if each.type == "Progressing" and each.reason in _LASTING and same:
            return Cause(each.reason, each.message.removeprefix(_NO_PROGRESS))
    return None


def _unreachable_index(snapshot: RetrieverSnapshot) -> Cause | None:
    """What pods wait for that run and are not ready: they do not end because of it."""
    for collection in snapshot.collections:
        for each in collection.status.conditions:
            if (each.type, each.status) != ("IndexReady", "False"):
                continue
            if each.reason in (QDRANT_UNAVAILABLE, INDEX_CERTIFICATE_REFUSED.reason):
                return Cause(each.reason, f"ImageCollection {collection.meta.name}: {each.message}")
    return None


_NO_PROGRESS = "no progress: "


def _progressing(situation: Situation) -> Judged:
    rollout, cause = situation.rollout, situation.rollout.cause
    if situation.suspended:
        return judged("Progressing", False, "Suspended", "spec.suspend is true")
    if situation.obstacle is not None:
        return judged("Progressing", False, situation.obstacle.reason, situation.obstacle.message)
    if rollout.complete or (situation.scale is not None and situation.scale.idle):
        return judged("Progressing", False, "Complete", "all pods run as the spec says")
    if cause is not None and cause.stuck:
        return judged("Progressing", False, cause.reason, _NO_PROGRESS + cause.message)
    how = f"; {situation.recreates}" if situation.recreates else ""
    return judged("Progressing", True, "RollingOut", rollout.message + how)


def _degraded(snapshot: RetrieverSnapshot, situation: Situation) -> Judged:
    """It works, but not completely as requested."""
    if snapshot.missing_secrets:
        cause = missing_secrets(snapshot.missing_secrets)
        return judged("Degraded", True, cause.reason, cause.message)
    if (trouble := _trouble(snapshot)) is not None:
        return judged("Degraded", True, trouble.reason, trouble.message)
    for lacking in situation.lacking:
        return judged("Degraded", True, lacking.reason, lacking.message)
    cause_ = situation.rollout.cause
    if situation.rollout.available and cause_ is not None and cause_.stuck:
        return judged("Degraded", True, cause_.reason, f"not all replicas run: {cause_.message}")
    return judged("Degraded", False, "AsExpected", "nothing is wrong")


def _ready(
    snapshot: RetrieverSnapshot,
    situation: Situation,
    stalled: Judged,
    available: Judged,
    progressing: Judged,
) -> Judged:
    if stalled.holds:
        return judged("Ready", False, stalled.reason, stalled.message)
    if situation.obstacle is not None:
        return judged("Ready", False, situation.obstacle.reason, situation.obstacle.message)
    if situation.suspended:
        return judged("Ready", False, "Suspended", "spec.suspend is true: set it to false to serve")
    if (trouble := _trouble(snapshot)) is not None and not situation.rollout.complete:
        return judged("Ready", False, trouble.reason, trouble.message)
    if not available.holds:
        return judged("Ready", False, available.reason, available.message)
    if available.reason == "Idle":
        return judged("Ready", True, "Idle", available.message)
    if not situation.rollout.complete:
        return judged("Ready", False, progressing.reason, progressing.message)
    return judged(
        "Ready",
        True,
        "Ready",
        f"{_answer(situation.rollout.ready)} at {situation.url}",
    )


def _answer(count: int) -> str:
    return "1 replica answers" if count == 1 else f"{count} replicas answer"
