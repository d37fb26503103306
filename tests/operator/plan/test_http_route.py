"""The HTTPRoute of `access.httpRoute`."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.plan.known import QDRANT, VIT, facts, named, retriever

from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.retriever import plan_retriever


def _route(**spec: Any) -> tuple[Manifest, Manifest]:
    """The route and the Service that it leads to."""
    access = {"access": {"httpRoute": {"gateway": "public", **spec}}}
    plan = plan_retriever(retriever(access, collections=(facts(QDRANT, VIT),)))
    return named(plan, "HTTPRoute"), named(plan, "Service")


def test_it_leads_to_the_service_at_its_port() -> None:
    route, service = _route()
    (rule,) = route["spec"]["rules"]
    (backend,) = rule["backendRefs"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"] in [port["port"] for port in service["spec"]["ports"]]


@pytest.mark.parametrize(
    ("spec", "namespace"), [({}, None), ({"gatewayNamespace": "edge"}, "edge")]
)
def test_the_gateway_is_in_the_namespace_of_the_retriever_unless_one_is_named(
    spec: dict[str, Any], namespace: str | None
) -> None:
    (parent,) = _route(**spec)[0]["spec"]["parentRefs"]
    assert (parent["name"], parent.get("namespace")) == ("public", namespace)


def test_without_host_names_the_field_is_left_out_since_an_empty_list_matches_otherwise() -> None:
    assert "hostnames" not in _route()[0]["spec"]
    assert _route(hostnames=["a.example"])[0]["spec"]["hostnames"] == ["a.example"]
