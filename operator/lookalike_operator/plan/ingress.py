"""`access.ingress`: makes the endpoint reachable at a host name outside of the cluster."""

from __future__ import annotations

from typing import Any

from lookalike_crds.retriever import IngressSpec
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import Component, Owner


def serving_ingress(owner: Owner, spec: IngressSpec) -> Manifest:
    backend = {"service": {"name": owner.name, "port": {"name": "http"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    rules: dict[str, Any] = {"rules": [{"host": spec.host, "http": {"paths": [path]}}]}
    if spec.class_name is not None:
        rules["ingressClassName"] = spec.class_name
    if spec.tls_secret_name is not None:
        rules["tls"] = [{"hosts": [spec.host], "secretName": spec.tls_secret_name}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": owner.metadata(owner.name, Component.SERVING),
        "spec": rules,
    }
