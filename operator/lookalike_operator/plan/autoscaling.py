"""How many replicas the metrics ask for: the rule of the HorizontalPodAutoscaler, as a function.

Each metric asks for ceil(ready x value / target) replicas, unless it is within a tenth of its
target; the largest number wins. The number increases at once, at most to twice as many (or by
four). It decreases only to the largest number that was asked for within the stabilisation window.
While a metric is missing, it does not decrease.
(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lookalike_crds.retriever import AutoscalingSpec, Metric
from lookalike_operator.plan.model import Recommendation, Sample

TOLERANCE = 0.1
_FREE_STEP = 4


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas, and why."""

    desired: int
    reason: str
    active: bool
    """Whether at least one metric has a value."""
    missing: str | None = None
    """Why a metric has no value."""
    recommendation: Recommendation | None = None


def decide(
    samples: Sequence[Sample],
    current: int,
    ready: int,
    spec: AutoscalingSpec,
    recommendations: Sequence[Recommendation],
    now: datetime,
) -> Decision:
    """Pure. `current`: replicas asked for so far; `ready`: those that the samples come from."""
    low = max(1, spec.min_replicas)
    high = max(low, spec.max_replicas)
    held = _between(low, current, high)
    answers, missing = _answers(spec.metrics, samples, ready)
    if not answers:
        return Decision(held, f"held at {held}: {missing}", active=False, missing=missing)
    asked, why = max((_asked(each, current, ready), _words(each)) for each in answers)
    if missing is not None and asked <= current:
        return Decision(held, f"held at {held}: {missing}", active=True, missing=missing)
    limited = min(asked, max(2 * current, current + _FREE_STEP)) if current else asked
    raw = _between(low, limited, high)
    window = timedelta(seconds=spec.scale_down_stabilization_seconds)
    recent = [each.replicas for each in recommendations if now - each.at < window]
    if not recommendations and window:
        # Nothing is known of the past, as after a restart: begin the window with what there is.
        raw = max(raw, held)
    desired = _between(low, max([raw, *(min(r, held) for r in recent)]), high)
    if desired == current:
        reason = why if raw == current else f"held at {desired} for the stabilisation window"
    else:
        reason = f"{current} -> {desired}: {why}"
    return Decision(desired, reason, True, missing, Recommendation(now, raw))


@dataclass(frozen=True, slots=True, order=True)
class _Answer:
    name: str
    value: float
    target: float

    @property
    def ratio(self) -> float:
        return self.value / self.target


def _answers(
    metrics: Sequence[Metric], samples: Sequence[Sample], ready: int
) -> tuple[list[_Answer], str | None]:
    """What the metrics say, and why one of them says nothing."""
    answers: list[_Answer] = []
    missing: str | None = None
    for i, metric in enumerate(metrics):
        sample = samples[i] if i < len(samples) else Sample(None, "Prometheus was not asked")
        name = metric.preset.value if metric.preset else f"metrics[{i}]"
        if sample.value is None or not math.isfinite(sample.value):
            missing = missing or f"{name}: {sample.error or 'Prometheus has no data'}"
        elif ready == 0:
            missing = missing or f"{name}: no replica is ready"
        else:
            answers.append(_Answer(name, max(0.0, sample.value), metric.target))
    return answers, missing


def _asked(answer: _Answer, current: int, ready: int) -> int:
    """Replicas that one metric asks for."""
    if abs(answer.ratio - 1) <= TOLERANCE:
        return current
    needed = math.ceil(min(ready * answer.ratio, 1e6))
    if answer.ratio > 1:
        # Those that are starting will take their share.
        return max(current, needed)
    # Those that are starting are taken to be needed.
    return min(current, needed + max(0, current - ready))


def _words(answer: _Answer) -> str:
    if abs(answer.ratio - 1) <= TOLERANCE:
        return f"{answer.name} {answer.value:.4g} is at its target {answer.target:.4g}"
    return (
        f"{answer.name} {answer.value:.4g} is {answer.ratio:.2g} x its target {answer.target:.4g}"
    )


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))
