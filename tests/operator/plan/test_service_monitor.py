"""The ServiceMonitor of serving pods, for clusters that have the kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.operator.plan.known import ALL_APIS, QDRANT, VIT, facts, kinds, named, retriever

from lookalike_operator.plan import service_monitor
from lookalike_operator.plan.model import Plan
from lookalike_operator.plan.retriever import plan_retriever


def _plan(runtime: str = "Standalone", *, apis: frozenset[str] = ALL_APIS) -> Plan:
    snapshot = retriever({"serving": {"runtime": runtime}}, collections=(facts(QDRANT, VIT),))
    return plan_retriever(replace(snapshot, apis=apis))


def test_it_selects_the_service_and_a_port_that_the_service_has() -> None:
    plan = _plan()
    monitor, service = named(plan, "ServiceMonitor"), named(plan, "Service")
    selector = monitor["spec"]["selector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_of_a_ray_cluster_each_pod_is_scraped_at_its_own_port() -> None:
    """Port 8000 of every pod there leads to any replica."""
    (endpoint,) = named(_plan("KubeRay"), "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["targetPort"] == 8001
    assert "port" not in endpoint


@pytest.mark.parametrize("runtime", ["Standalone", "KubeRay"])
def test_series_have_the_label_by_which_autoscaling_selects(runtime: str) -> None:
    plan = _plan(runtime)
    (endpoint,) = named(plan, "ServiceMonitor")["spec"]["endpoints"]
    (relabeling,) = endpoint["relabelings"]
    assert relabeling["targetLabel"] == "retriever"
    (source,) = relabeling["sourceLabels"]
    label = source.removeprefix("__meta_kubernetes_service_label_")
    labels = {
        key.replace(".", "_").replace("/", "_"): value
        for key, value in named(plan, "Service")["metadata"]["labels"].items()
    }
    assert labels[label] == "search"


def test_without_the_kind_there_is_none() -> None:
    assert "ServiceMonitor" not in kinds(_plan(apis=ALL_APIS - {service_monitor.API}))
