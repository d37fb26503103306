"""Which changes restart serving pods, how pods are replaced, and how the pods are found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.operator.plan.deployed import SERVER, pod_template
from tests.operator.plan.known import (
    EDGE,
    OTHER,
    QDRANT,
    VIT,
    condition,
    facts,
    named,
    retriever,
)

from lookalike_operator.plan.model import (
    RetrieverSnapshot,
)
from lookalike_operator.plan.retriever import plan_retriever

LIGHT: dict[str, dict[str, Any]] = {
    "defaults": {"search": {"topK": 50, "minScore": 0.3}},
    "stages": {"search": {"stages": [{"type": "Diversity"}]}},
    "weights": {"collections": [{"name": "catalogue", "weight": 2.0}]},
    "rate limit": {"access": {"rateLimit": {"requestsPerSecond": 3}}},
    "replicas": {"serving": {"replicas": 4}},
    "ingress": {"access": {"ingress": {"host": "a.example"}}},
}


HEAVY: dict[str, dict[str, Any]] = {
    "image": {"serving": {"image": "another:2"}},
    "resources": {"serving": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
    "pod template": {"serving": {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}}},
    "keys": {"access": {"apiKeysSecretRef": {"name": "keys", "key": "api"}}},
}


def _changed(change: dict[str, Any]) -> RetrieverSnapshot:
    plain = retriever(collections=SERVER)
    named_ = {"collections": [{"name": "catalogue"}]}
    return replace(plain, spec=type(plain.spec).model_validate({**named_, **change}))  # type: ignore[union-attr]


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_change_restarts_no_pod(name: str) -> None:
    before, after = plan_retriever(_changed({})), plan_retriever(_changed(LIGHT[name]))
    assert pod_template(before) == pod_template(after)
    assert before.objects != after.objects


@pytest.mark.parametrize("name", HEAVY)
def test_a_heavy_change_restarts_pods(name: str) -> None:
    before, after = plan_retriever(_changed({})), plan_retriever(_changed(HEAVY[name]))
    assert pod_template(before) != pod_template(after)


def test_another_edge_index_restarts_no_pod_and_another_on_a_server_does() -> None:
    """The one pod that has the index open opens the other beside it; pods of a server overlap."""
    of_edge = [plan_retriever(retriever(collections=(facts(EDGE, m),))) for m in (VIT, OTHER)]
    assert pod_template(of_edge[0]) == pod_template(of_edge[1])
    assert of_edge[0].objects != of_edge[1].objects
    on_server = [plan_retriever(retriever(collections=(facts(QDRANT, m),))) for m in (VIT, OTHER)]
    assert pod_template(on_server[0]) != pod_template(on_server[1])


def test_collections_in_another_order_restart_nothing() -> None:
    two = (facts(QDRANT, VIT), facts(QDRANT, VIT, name="archive"))
    one, other = retriever(collections=two), retriever(collections=(two[1], two[0]))
    assert pod_template(plan_retriever(one)) == pod_template(plan_retriever(other))


@pytest.mark.parametrize(
    ("parts", "engine", "strategy"),
    [
        ({}, QDRANT, {"type": "RollingUpdate",
                      "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ({"serving": {"updateStrategy": "Recreate"}}, QDRANT, {"type": "Recreate"}),
        ({}, EDGE, {"type": "Recreate"}),
    ],
)  # fmt: skip
def test_pods_are_replaced_without_a_gap_where_they_can_be(
    parts: dict[str, Any], engine: dict[str, Any], strategy: dict[str, Any]
) -> None:
    plan = plan_retriever(retriever(parts, collections=(facts(engine),)))
    assert named(plan, "Deployment")["spec"]["strategy"] == strategy
    says = condition(plan, "Progressing")["message"]
    assert ("old pods end before new ones start" in says) == (strategy["type"] == "Recreate")


def test_the_scale_subresource_finds_the_pods() -> None:
    plan = plan_retriever(retriever(collections=SERVER))
    labels = pod_template(plan)["metadata"]["labels"]
    selector = dict(part.split("=") for part in plan.status["selector"].split(","))
    assert selector.items() <= labels.items()
    assert selector == named(plan, "Deployment")["spec"]["selector"]["matchLabels"]
