"""How many serving replicas there are to be: from the spec, from metrics, or none.

There is one writer. With `spec.autoscaling`, the operator decides the number, and
`serving.replicas` is ignored; without it, the spec decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from lookalike_crds.retriever import RetrieverSpec, Runtime
from lookalike_operator.plan.autoscaling import decide
from lookalike_operator.plan.conditions import Judged, judged
from lookalike_operator.plan.model import Recommendation, RetrieverSnapshot

INTERVAL_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Scale:
    desired: int
    condition: Judged
    reason: str | None = None
    """What the last change of the number was for."""
    recommendation: Recommendation | None = None
    idle: bool = False
    """KubeRay: none now, and Ray Serve itself starts the first at the next request."""


def scale(snapshot: RetrieverSnapshot, spec: RetrieverSpec, live: int | None, ready: int) -> Scale:
    """`live`: replicas asked for until now; None if nothing is there yet."""
    if spec.suspend:
        message = "spec.suspend is true: no replicas until it is false"
        return Scale(0, _active(False, "Suspended", message), "suspended")
    if spec.autoscaling is None:
        message = "spec.autoscaling is not set: serving.replicas decides"
        replicas = spec.serving.replicas
        return Scale(replicas, _active(False, "Disabled", message), None)
    known = snapshot.status.desired_replicas
    start = max(1, spec.autoscaling.min_replicas)
    current = known if known is not None else live if live is not None else start
    if _is_idle(snapshot, spec, current):
        seconds = spec.autoscaling.idle_timeout_seconds
        message = f"no request for {seconds} s: the next one starts a replica"
        return Scale(0, _active(True, "Idle", message), message, idle=True)
    decision = decide(
        snapshot.samples, current, ready, spec.autoscaling, snapshot.recommendations, snapshot.now
    )
    return Scale(
        decision.desired,
        _condition(spec, decision.active, decision.missing),
        decision.reason,
        decision.recommendation,
    )


def _is_idle(snapshot: RetrieverSnapshot, spec: RetrieverSpec, current: int) -> bool:
    """Whether nobody has asked for so long that GPUs are given back.

    Runtime KubeRay alone: there a proxy stays, and holds a request until a replica is up.
    """
    timeout = spec.autoscaling.idle_timeout_seconds if spec.autoscaling else None
    if timeout is None or spec.serving.runtime is not Runtime.KUBE_RAY:
        return False
    if snapshot.idle_seconds is None:
        # Without replicas there is nobody to tell: it stays as it is until one is up.
        return current == 0 and snapshot.status.desired_replicas == 0
    return snapshot.idle_seconds >= timeout


def _condition(spec: RetrieverSpec, active: bool, missing: str | None) -> Judged:
    assert spec.autoscaling is not None
    if not active:
        remedy = "the number of replicas is held; see docs/autoscaling.md"
        return _active(False, "MetricsMissing", f"{missing}: {remedy}")
    if missing is not None:
        return _active(
            True, "SomeMetricsMissing", f"{missing}: nothing is scaled down in the meantime"
        )
    bounds = f"{max(1, spec.autoscaling.min_replicas)} to {spec.autoscaling.max_replicas} replicas"
    message = f"{bounds}, by {len(spec.autoscaling.metrics)} metrics"
    if spec.autoscaling.idle_timeout_seconds and spec.serving.runtime is not Runtime.KUBE_RAY:
        message += (
            "; idleTimeoutSeconds needs runtime KubeRay, where a proxy holds requests in the "
            "meantime: one replica stays"
        )
    return _active(True, "Scaling", message)


def _active(holds: bool, reason: str, message: str) -> Judged:
    return judged("ScalingActive", holds, reason, message)
