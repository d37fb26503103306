"""The conditions of a Retriever, from Ready to Stalled."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike_operator.plan.causes import NOT_IN_TIME, UNREACHABLE, Cause
from lookalike_operator.plan.conditions import Judged, judged
from lookalike_operator.plan.model import RetrieverSnapshot
from lookalike_operator.plan.names import PAUSED
from lookalike_operator.plan.retriever_obstacles import WAITS
from lookalike_operator.plan.rollout import Rollout
from lookalike_operator.plan.scaling import Scale
from lookalike_operator.plan.waiting import missing_secrets


@dataclass(frozen=True, slots=True)
class Situation:
    """What the conditions are judged by."""

    rollout: Rollout
    scale: Scale | None = None
    """None: nothing is decided while something is in the way."""
    recreates: str | None = None
    """Why old pods end before new ones start."""
    obstacle: Cause | None = None
    lacking: tuple[Cause, ...] = ()
    """What was asked for and cannot be had, without which the endpoint works."""
    refused: Cause | None = None
    """What the API server does not take; all else is done."""
    paused: bool = False
    suspended: bool = False
    url: str | None = None


def judge(snapshot: RetrieverSnapshot, situation: Situation) -> tuple[Judged, ...]:
    """All conditions, in the order they are shown."""
    stalled = _stalled(situation)
    available = _available(snapshot, situation)
    progressing = _progressing(situation)
    scaling = (
        situation.scale.condition
        if situation.scale is not None
        else judged("ScalingActive", False, "Held", "nothing is scaled while something else waits")
    )
    degraded = _degraded(snapshot, situation)
    ready = _ready(snapshot, situation, stalled, available, progressing)
    paused = (
        (judged("Paused", True, "Annotated", f"annotation {PAUSED} is true: remove it to go on"),)
        if situation.paused
        else ()
    )
    return (ready, available, progressing, scaling, degraded, stalled, *paused)


def _stalled(situation: Situation) -> Judged:
    found = situation.obstacle
    if found is not None and found.reason not in WAITS:
        return judged("Stalled", True, found.reason, found.message)
    if situation.refused is not None:
        return judged("Stalled", True, situation.refused.reason, situation.refused.message)
    return judged("Stalled", False, "AsExpected", "nothing waits for a person")


def _available(snapshot: RetrieverSnapshot, situation: Situation) -> Judged:
    rollout, scale = situation.rollout, situation.scale
    if scale is not None and scale.idle and rollout.ready == 0:
        # A RayService calls itself ready for its head's proxy alone.
        return judged("Available", True, "Idle", scale.condition.message)
    if rollout.available:
        return judged("Available", True, "ReplicasAvailable", f"{_answer(rollout.ready)} queries")
    if situation.suspended:
        return judged("Available", False, "Suspended", "spec.suspend is true")
    cause = rollout.cause
    only_late = cause is None or not cause.stuck or cause.reason == NOT_IN_TIME
    if only_late and (waits := _unreachable_index(snapshot)) is not None:
        cause = waits
    if cause is not None:
        return judged("Available", False, cause.reason, cause.message)
    return judged("Available", False, "Starting", rollout.message)


def _unreachable_index(snapshot: RetrieverSnapshot) -> Cause | None:
    """What pods wait for that run and are not ready: they do not end because of it."""
    for collection in snapshot.collections:
        for each in collection.status.conditions:
            if (each.type, each.status, each.reason) == ("IndexReady", "False", UNREACHABLE):
                about = f"ImageCollection {collection.meta.name}: {each.message}"
                return Cause(UNREACHABLE, about, stuck=False)
    return None


def _progressing(situation: Situation) -> Judged:
    rollout, cause = situation.rollout, situation.rollout.cause
    if situation.suspended:
        return judged("Progressing", False, "Suspended", "spec.suspend is true")
    if situation.obstacle is not None:
        return judged("Progressing", False, situation.obstacle.reason, situation.obstacle.message)
    if rollout.complete or (situation.scale is not None and situation.scale.idle):
        return judged("Progressing", False, "Complete", "all pods run as the spec says")
    if cause is not None and cause.stuck:
        return judged("Progressing", False, cause.reason, f"no progress: {cause.message}")
    how = f"; {situation.recreates}" if situation.recreates else ""
    return judged("Progressing", True, "RollingOut", rollout.message + how)


def _degraded(snapshot: RetrieverSnapshot, situation: Situation) -> Judged:
    """Works, but not wholly as asked for."""
    if snapshot.missing_secrets:
        cause = missing_secrets(snapshot.missing_secrets)
        return judged("Degraded", True, cause.reason, cause.message)
    for lacking in situation.lacking:
        return judged("Degraded", True, lacking.reason, lacking.message)
    cause_ = situation.rollout.cause
    if situation.rollout.available and cause_ is not None and cause_.stuck:
        return judged("Degraded", True, cause_.reason, f"not all replicas run: {cause_.message}")
    return judged("Degraded", False, "AsExpected", "nothing is amiss")


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
    if snapshot.missing_secrets and not available.holds:
        cause = missing_secrets(snapshot.missing_secrets)
        return judged("Ready", False, cause.reason, cause.message)
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
