"""How many replicas a Retriever has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.operator.plan.deployed import SERVER, all_ready, live_deployment
from tests.operator.plan.known import (
    condition,
    kinds,
    named,
    retriever,
    told,
)

from lookalike_crds.retriever import RetrieverStatus
from lookalike_operator.plan.model import (
    RetrieverSnapshot,
    Sample,
)
from lookalike_operator.plan.retriever import plan_retriever

SCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 6,
                          "metrics": [{"preset": "Concurrency", "target": 5}]}}  # fmt: skip


def _scaled(*samples: Sample, desired: int | None = 2, **changes: Any) -> RetrieverSnapshot:
    snapshot = retriever(SCALED, collections=SERVER, samples=samples, **changes)
    live = live_deployment(plan_retriever(snapshot), **all_ready(2))
    status = RetrieverStatus(desired_replicas=desired)
    return replace(snapshot, children=(live,), status=status)


def test_with_autoscaling_the_number_is_the_operators() -> None:
    plan = plan_retriever(_scaled(Sample(10.0)))
    assert named(plan, "Deployment")["spec"]["replicas"] == 4
    assert plan.status["desiredReplicas"] == 4
    assert plan.status["lastScaleReason"] == "2 -> 4: Concurrency 10 is 2 x its target 5"
    assert [e.reason for e in plan.events if e.reason == "Scaled"] == ["Scaled"]
    assert plan.requeue_after == 15
    assert plan.recommendation is not None


def test_a_number_that_stays_is_no_write() -> None:
    first, second = plan_retriever(_scaled(Sample(5.1))), plan_retriever(_scaled(Sample(4.9)))
    assert first.status == second.status


def test_without_metrics_replicas_are_held_and_a_condition_says_why() -> None:
    plan = plan_retriever(_scaled(Sample(None, "http://prometheus:9090 does not answer")))
    assert plan.status["desiredReplicas"] == 2
    assert told(plan, "ScalingActive") == ("False", "MetricsMissing")
    assert "http://prometheus:9090 does not answer" in condition(plan, "ScalingActive")["message"]


def test_without_autoscaling_the_number_is_the_specs() -> None:
    plan = plan_retriever(retriever({"serving": {"replicas": 3}}, collections=SERVER))
    assert named(plan, "Deployment")["spec"]["replicas"] == 3
    assert told(plan, "ScalingActive") == ("False", "Disabled")


def test_suspended_there_are_no_pods_and_everything_else_stays() -> None:
    plan = plan_retriever(retriever({"suspend": True}, SCALED, collections=SERVER))
    assert named(plan, "Deployment")["spec"]["replicas"] == 0
    assert "Service" in kinds(plan)
    assert told(plan, "Ready") == ("False", "Suspended")
    assert plan.requeue_after is None
