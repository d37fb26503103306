"""The PodDisruptionBudget of serving pods."""

from __future__ import annotations

import pytest
from tests.operator.plan.deployed import pod_template
from tests.operator.plan.known import EDGE, QDRANT, VIT, facts, kinds, named, retriever

from lookalike_operator.plan.retriever import plan_retriever


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_drain_takes_one_pod_at_a_time_and_never_waits_for_the_only_one(replicas: int) -> None:
    snapshot = retriever({"serving": {"replicas": replicas}}, collections=(facts(QDRANT, VIT),))
    budget = named(plan_retriever(snapshot), "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget, "of one replica, it would let none go"


def test_pods_that_do_not_answer_hold_up_no_drain() -> None:
    plan = plan_retriever(retriever(collections=(facts(EDGE),)))
    budget = named(plan, "PodDisruptionBudget")["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_it_counts_the_pods_of_this_retriever_alone() -> None:
    plan = plan_retriever(retriever(collections=(facts(QDRANT, VIT),)))
    selector = named(plan, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= pod_template(plan)["metadata"]["labels"].items()
    other = plan_retriever(retriever(collections=(facts(QDRANT, VIT),), meta=facts(name="b").meta))
    assert not selector.items() <= pod_template(other)["metadata"]["labels"].items()


def test_ray_clusters_have_none_since_kuberay_replaces_their_pods() -> None:
    serving = {"serving": {"runtime": "KubeRay"}}
    plan = plan_retriever(retriever(serving, collections=(facts(QDRANT, VIT),)))
    assert "RayService" in kinds(plan)
    assert "PodDisruptionBudget" not in kinds(plan)
