"""`access.httpRoute`: makes the endpoint reachable through a Gateway (Gateway API)."""

from __future__ import annotations

from typing import Any

from lookalike_crds.retriever import HttpRouteSpec
from lookalike_operator.plan import places
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import Component, Owner

API = "gateway.networking.k8s.io/v1/HTTPRoute"


def serving_route(owner: Owner, spec: HttpRouteSpec) -> Manifest:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": spec.gateway}
    if spec.gateway_namespace is not None:
        parent["namespace"] = spec.gateway_namespace
    body: dict[str, Any] = {
        "parentRefs": [parent],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"name": owner.name, "port": places.PORT}],
            }
        ],
    }
    if spec.hostnames:
        body["hostnames"] = list(spec.hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": owner.metadata(owner.name, Component.SERVING),
        "spec": body,
    }
