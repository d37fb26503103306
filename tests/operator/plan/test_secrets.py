"""Secrets that are made once, and those that pods wait for."""

from __future__ import annotations

from dataclasses import replace

from tests.operator.plan.deployed import SERVER, live_deployment
from tests.operator.plan.known import (
    condition,
    named,
    pod,
    retriever,
)

from lookalike_operator.plan.retriever import plan_retriever


def test_secrets_are_asked_for_once_and_hold_nothing_in_the_plan() -> None:
    plan = plan_retriever(retriever(collections=SERVER))
    assert [o["metadata"]["name"] for o in plan.once] == ["search-internal", "search-api-keys"]
    assert not any(key in o for o in plan.once for key in ("data", "stringData"))


def test_keys_of_ones_own_are_used_in_place_of_made_ones() -> None:
    own = {"access": {"apiKeysSecretRef": {"name": "keys", "key": "api"}}}
    plan = plan_retriever(retriever(own, collections=SERVER))
    assert [o["metadata"]["name"] for o in plan.once] == ["search-internal"]
    assert "/etc/lookalike-keys/api" in named(plan, "ConfigMap")["data"]["serving.json"]


def test_secrets_that_pods_may_wait_for_are_looked_for_again() -> None:
    creating = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    snapshot = retriever(collections=SERVER)
    waits = pod(status={"phase": "Pending", "containerStatuses": [creating]})
    live = live_deployment(plan_retriever(snapshot), replicas=1, updatedReplicas=1)
    plan = plan_retriever(replace(snapshot, children=(live,), pods=(waits,)))
    assert plan.doubtful
    assert plan.requeue_after == 15
    assert "has no container yet" in condition(plan, "Ready")["message"]
    # A pod without a node waits for something else, of which a watch tells.
    pending = replace(snapshot, pods=(pod(status={"phase": "Pending"}),))
    assert not plan_retriever(pending).doubtful
    assert plan_retriever(pending).requeue_after is None
