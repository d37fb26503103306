"""What keeps a Retriever from being served: it is told, and its children are left."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.operator.plan.deployed import SERVER, all_ready, live_deployment
from tests.operator.plan.known import (
    NOW,
    condition,
    facts,
    meta,
    retriever,
    retriever_spec,
    told,
)

from lookalike_operator.plan.model import (
    RetrieverFacts,
    RetrieverSnapshot,
)
from lookalike_operator.plan.names import PAUSED
from lookalike_operator.plan.retriever import plan_retriever


def _rival(name: str, days: int, **changes: Any) -> RetrieverFacts:
    made = meta(name, created=NOW - timedelta(days=days), **changes)
    return RetrieverFacts(made, retriever_spec(), available=True)


TABLE: dict[str, tuple[RetrieverSnapshot, str, str]] = {
    "spec": (
        retriever(spec=None, problems=("spec.collections: is required: add it",)),
        "InvalidSpec", "is required",
    ),
    "replicas": (
        retriever({"serving": {"replicas": 2}}), "EdgeSingleReplica", "write 1, or use engine",
    ),
    "autoscaling": (
        retriever({"autoscaling": {"metrics": [{"query": "x", "target": 1}], "maxReplicas": 3}}),
        "EdgeSingleReplica", "spec.autoscaling.maxReplicas is 3",
    ),
    "rival": (retriever(rivals=(_rival("older", 9),)), "IndexInUse", "Retriever older serves"),
    "kuberay": (
        retriever({"serving": {"runtime": "KubeRay"}}, apis=frozenset()),
        "KubeRayMissing", "install the KubeRay operator",
    ),
    "server": (
        retriever(collections=(facts({"index": {"engine": "Qdrant"}}),)),
        "NoQdrantAddress", "url, urls or serviceRef",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_is_in_the_way_is_told_and_children_are_left(name: str) -> None:
    snapshot, reason, says = TABLE[name]
    plan = plan_retriever(snapshot)
    assert plan.hands_off
    assert plan.objects == ()
    assert told(plan, "Stalled") == ("True", reason)
    assert told(plan, "Ready") == ("False", reason)
    assert says in condition(plan, "Stalled")["message"]


@pytest.mark.parametrize(
    "rivals",
    [
        (_rival("younger", 0),),
        (_rival("older", 9, deleting=True),),
        (replace(_rival("older", 9), spec=retriever_spec(collections=("other",))),),
    ],
)
def test_a_rival_that_is_younger_or_going_or_elsewhere_is_none(
    rivals: tuple[RetrieverFacts, ...],
) -> None:
    assert not plan_retriever(retriever(rivals=rivals)).hands_off


def test_retrievers_may_share_a_server() -> None:
    shared = retriever(collections=SERVER, rivals=(_rival("older", 9),))
    assert not plan_retriever(shared).hands_off


def test_of_two_of_one_age_exactly_one_serves() -> None:
    ages = {"created": NOW - timedelta(days=2)}
    one = retriever(meta=meta("a", **ages), rivals=(_rival("b", 2),))
    other = retriever(meta=meta("b", **ages), rivals=(_rival("a", 2),))
    assert plan_retriever(one).hands_off != plan_retriever(other).hands_off


def test_a_collection_that_is_not_there_yet_is_waited_for() -> None:
    snapshot = replace(retriever(collections=SERVER), collections=())
    plan = plan_retriever(snapshot)
    assert plan.hands_off
    assert told(plan, "Ready") == ("False", "CollectionNotFound")
    # GitOps applies in any order: this is no failure.
    assert told(plan, "Stalled")[0] == "False"


def test_what_stalls_leaves_the_endpoint_that_there_is() -> None:
    fine = retriever(collections=SERVER)
    live = live_deployment(plan_retriever(fine), **all_ready(1))
    broken = replace(fine, children=(live,), spec=None, problems=("spec: is wrong",))
    plan = plan_retriever(broken)
    assert told(plan, "Available") == ("True", "ReplicasAvailable")
    assert plan.status["replicas"] == 1


def test_paused_it_is_left_alone() -> None:
    snapshot = retriever(collections=SERVER)
    live = live_deployment(plan_retriever(snapshot), **all_ready(1))
    paused = meta("search", annotations={PAUSED: "true"})
    plan = plan_retriever(replace(snapshot, meta=paused, children=(live,)))
    assert plan.hands_off
    says = condition(plan, "Ready")["message"]
    assert says == "1 replica answers at http://search.shop.svc:8000"
    assert told(plan, "Paused") == ("True", "Annotated")
