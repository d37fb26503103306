"""The NetworkPolicy of serving pods: `access.networkPolicy`, and the ports of a Ray cluster."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.operator.plan.deployed import pod_template
from tests.operator.plan.known import (
    QDRANT,
    SETTINGS,
    VIT,
    collection,
    condition,
    facts,
    retriever,
    told,
)

from lookalike_operator.plan.model import Manifest, Plan, Settings
from lookalike_operator.plan.names import CLIENT, Component, Owner
from lookalike_operator.plan.retriever import plan_retriever

KUBERAY = {"serving": {"runtime": "KubeRay"}}
CLIENTS = {"access": {"networkPolicy": True}}


def _plan(*parts: dict[str, Any], settings: Settings = SETTINGS) -> Plan:
    snapshot = retriever(*parts, collections=(facts(QDRANT, VIT),))
    return plan_retriever(replace(snapshot, settings=settings))


def _policies(*parts: dict[str, Any], settings: Settings = SETTINGS) -> list[Manifest]:
    plan = _plan(*parts, settings=settings)
    return [each for each in plan.objects if each["kind"] == "NetworkPolicy"]


def test_without_ray_there_is_one_only_if_it_is_asked_for() -> None:
    assert _policies() == []
    assert len(_policies(CLIENTS)) == 1


def test_it_admits_labelled_clients_of_any_namespace_and_ingestion_of_its_own() -> None:
    [policy] = _policies(CLIENTS)
    (rule,) = policy["spec"]["ingress"]
    clients, ingestion = rule["from"]
    assert clients["namespaceSelector"] == {}, "any namespace"
    assert clients["podSelector"]["matchExpressions"] == [{"key": CLIENT, "operator": "Exists"}]
    assert "namespaceSelector" not in ingestion
    labels = Owner("ImageCollection", collection().meta).labels(Component.INGESTION)
    assert ingestion["podSelector"]["matchLabels"].items() <= labels.items()
    assert [port["port"] for port in rule["ports"]] == [8000, 8002]


def test_it_is_about_the_serving_pods() -> None:
    [policy] = _policies(CLIENTS)
    selector = policy["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= pod_template(_plan(CLIENTS))["metadata"]["labels"].items()


def test_a_ray_clusters_ports_are_for_it_and_for_kuberays_operator_alone() -> None:
    [policy] = _policies(KUBERAY)
    everybody, itself, kuberay = policy["spec"]["ingress"]
    assert "from" not in everybody
    assert [port["port"] for port in everybody["ports"]] == [8000, 8001, 8002]
    assert "ports" not in itself
    assert itself["from"] == [{"podSelector": policy["spec"]["podSelector"]}]
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": "kuberay-system"}}
    assert [peer["namespaceSelector"] for peer in kuberay["from"]] == [namespace] * 2
    assert all(peer["podSelector"]["matchLabels"] for peer in kuberay["from"])


def test_the_policy_can_be_left_out_by_who_installs_the_operator() -> None:
    assert _policies(KUBERAY, settings=replace(SETTINGS, ray_network_policy=False)) == []


def test_a_policy_for_clients_names_the_same_kuberay() -> None:
    [policy] = _policies(KUBERAY, CLIENTS)
    clients, _, kuberay = policy["spec"]["ingress"]
    assert clients["from"]
    assert all("matchLabels" in peer["namespaceSelector"] for peer in kuberay["from"])


@pytest.mark.parametrize("access", [{}, {"networkPolicy": True}])
def test_where_kuberay_runs_has_to_be_known(access: dict[str, Any]) -> None:
    lost = replace(SETTINGS, kuberay_namespace=None)
    plan = _plan(KUBERAY, {"access": access}, settings=lost)
    assert told(plan, "Stalled") == ("True", "KubeRayNamespaceUnknown")
    assert "kuberay.namespace" in condition(plan, "Stalled")["message"]
