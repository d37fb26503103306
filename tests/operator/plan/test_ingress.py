"""The Ingress of `access.ingress`."""

from __future__ import annotations

from typing import Any

from tests.operator.plan.known import QDRANT, VIT, facts, named, retriever

from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.retriever import plan_retriever


def _ingress(**spec: Any) -> tuple[Manifest, Manifest]:
    """The Ingress and the Service behind it."""
    access = {"access": {"ingress": {"host": "a.example", **spec}}}
    plan = plan_retriever(retriever(access, collections=(facts(QDRANT, VIT),)))
    return named(plan, "Ingress"), named(plan, "Service")


def test_it_leads_every_path_of_its_host_to_a_port_of_the_service() -> None:
    ingress, service = _ingress()
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == ("a.example", "/", "Prefix")
    backend = path["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]


def test_the_certificate_is_for_the_host_that_is_served() -> None:
    ingress, _ = _ingress(tlsSecretName="certificate")
    assert ingress["spec"]["tls"] == [{"hosts": ["a.example"], "secretName": "certificate"}]


def test_what_is_not_set_is_left_to_the_cluster() -> None:
    assert not {"ingressClassName", "tls"} & _ingress()[0]["spec"].keys()
    assert _ingress(className="nginx")[0]["spec"]["ingressClassName"] == "nginx"
