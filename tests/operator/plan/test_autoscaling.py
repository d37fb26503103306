"""The scaling rule, moment by moment."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.plan.known import NOW

from lookalike_crds.retriever import AutoscalingSpec
from lookalike_operator.plan.autoscaling import decide
from lookalike_operator.plan.model import Recommendation, Sample


def _spec(**changes: Any) -> AutoscalingSpec:
    values = {
        "minReplicas": 1,
        "maxReplicas": 10,
        "metrics": [{"preset": "Concurrency", "target": 10}],
        "scaleDownStabilizationSeconds": 0,
        **changes,
    }
    return AutoscalingSpec.model_validate(values)


@pytest.mark.parametrize(
    ("value", "current", "ready", "desired"),
    [
        (10, 2, 2, 2),
        (10.9, 2, 2, 2),  # within a tenth
        (9.1, 2, 2, 2),
        (15, 2, 2, 3),
        (30, 2, 2, 6),
        (5, 4, 4, 2),
        (0, 4, 4, 1),  # the least
        (100, 2, 2, 6),  # four at once, or a doubling
        (100, 5, 5, 10),  # the most
        (40, 4, 1, 4),  # three are starting: they will take their share
        (2, 4, 1, 4),  # and are taken to be needed
        (30, 0, 1, 3),
    ],
)
def test_each_moment_asks_for_so_many(value: float, current: int, ready: int, desired: int) -> None:
    decision = decide([Sample(value)], current, ready, _spec(), (), NOW)
    assert decision.desired == desired
    assert decision.active


def test_the_metric_that_asks_for_most_wins() -> None:
    spec = _spec(metrics=[{"preset": "Concurrency", "target": 10}, {"query": "x", "target": 1}])
    decision = decide([Sample(5), Sample(2)], 2, 2, spec, (), NOW)
    assert decision.desired == 4
    assert "metrics[1]" in decision.reason


def test_without_any_metric_replicas_are_held_and_the_reason_is_told() -> None:
    decision = decide([Sample(None, "connection refused")], 4, 4, _spec(), (), NOW)
    assert (decision.desired, decision.active) == (4, False)
    assert decision.missing == "Concurrency: connection refused"
    assert decision.recommendation is None


def test_a_value_that_is_no_number_is_missing() -> None:
    assert not decide([Sample(float("nan"))], 4, 4, _spec(), (), NOW).active


@pytest.mark.parametrize(("value", "desired"), [(1, 4), (20, 8)])
def test_while_one_metric_is_missing_replicas_go_up_and_never_down(
    value: float, desired: int
) -> None:
    spec = _spec(metrics=[{"preset": "Concurrency", "target": 10}, {"query": "x", "target": 1}])
    decision = decide([Sample(value), Sample(None)], 4, 4, spec, (), NOW)
    assert decision.desired == desired
    assert decision.missing is not None


def test_a_scale_down_waits_for_the_window() -> None:
    spec = _spec(scaleDownStabilizationSeconds=300)
    history = (Recommendation(NOW - timedelta(seconds=299), 5),)
    assert decide([Sample(1)], 6, 6, spec, history, NOW).desired == 5
    later = NOW + timedelta(seconds=1)
    assert decide([Sample(1)], 6, 6, spec, history, later).desired == 1


def test_after_a_restart_the_window_begins_anew() -> None:
    spec = _spec(scaleDownStabilizationSeconds=300)
    first = decide([Sample(1)], 6, 6, spec, (), NOW)
    assert first.desired == 6
    assert first.recommendation == Recommendation(NOW, 6)


def test_a_window_full_of_larger_wishes_never_scales_up() -> None:
    spec = _spec(scaleDownStabilizationSeconds=300)
    history = (Recommendation(NOW - timedelta(seconds=10), 9),)
    assert decide([Sample(10)], 3, 3, spec, history, NOW).desired == 3


def test_bounds_hold_even_without_metrics() -> None:
    assert decide([Sample(None)], 40, 40, _spec(), (), NOW).desired == 10
    assert decide([Sample(None)], 0, 0, _spec(minReplicas=2), (), NOW).desired == 2


@given(
    st.lists(st.none() | st.floats(), max_size=3),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(0, 20),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 50)), max_size=5),
)
def test_the_number_is_always_within_bounds(
    values: list[float | None],
    current: int,
    ready: int,
    low: int,
    high: int,
    history: list[tuple[int, int]],
) -> None:
    spec = _spec(minReplicas=min(low, high), maxReplicas=high, scaleDownStabilizationSeconds=300)
    recent = tuple(Recommendation(NOW - timedelta(seconds=s), n) for s, n in history)
    decision = decide([Sample(v) for v in values], current, ready, spec, recent, NOW)
    assert max(1, min(low, high)) <= decision.desired <= high


def test_load_that_goes_up_and_down_is_followed_without_flapping() -> None:
    """Ten minutes of samples every 15 s: a burst of 90 requests, then none."""
    spec = _spec(scaleDownStabilizationSeconds=120)
    history: tuple[Recommendation, ...] = ()
    current, seen = 1, []
    for step in range(40):
        now = NOW + timedelta(seconds=15 * step)
        load = 90.0 if 4 <= step < 12 else 2.0
        decision = decide([Sample(load / current)], current, current, spec, history, now)
        if decision.recommendation is not None:
            history = (*history, decision.recommendation)
        current = decision.desired
        seen.append(current)
    assert max(seen) == 9
    assert seen[-1] == 1
    changes = sum(a != b for a, b in pairwise(seen))
    assert changes <= 4, seen
