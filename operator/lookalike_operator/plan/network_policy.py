"""`access.networkPolicy`: who may open a connection to serving pods."""

from __future__ import annotations

from typing import Any

from lookalike_crds.retriever import RetrieverSpec, Runtime
from lookalike_operator.plan import places
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import (
    APP,
    CLIENT,
    COMPONENT,
    MANAGED_BY,
    OPERATOR,
    Component,
    Owner,
)

_RAY_DASHBOARD = 8265


def serving_policy(owner: Owner, spec: RetrieverSpec) -> Manifest:
    """Pods labelled `lookalike.dev/client` (of any value), in any namespace: applications, the
    ingress controller, Prometheus. And our own: ingestion, Ray among itself, KubeRay."""
    client = {"matchExpressions": [{"key": CLIENT, "operator": "Exists"}]}
    ingestion = {"matchLabels": {MANAGED_BY: OPERATOR, COMPONENT: Component.INGESTION.value}}
    kuberay_runs_it = spec.serving.runtime is Runtime.KUBE_RAY
    ports = (places.PORT, places.METRICS_PORT) if kuberay_runs_it else (places.PORT,)
    rules: list[dict[str, Any]] = [
        {
            "from": [
                {"namespaceSelector": {}, "podSelector": client},
                {"podSelector": ingestion},
            ],
            "ports": [{"port": port, "protocol": "TCP"} for port in ports],
        }
    ]
    if kuberay_runs_it:
        kuberay = {"matchLabels": {APP: "kuberay-operator"}}
        rules += [
            {"from": [{"podSelector": {"matchLabels": owner.selector(Component.SERVING)}}]},
            {
                "from": [{"namespaceSelector": {}, "podSelector": kuberay}],
                "ports": [
                    {"port": port, "protocol": "TCP"} for port in (places.PORT, _RAY_DASHBOARD)
                ],
            },
        ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(owner.name, Component.SERVING),
        "spec": {
            "podSelector": {"matchLabels": owner.selector(Component.SERVING)},
            "policyTypes": ["Ingress"],
            "ingress": rules,
        },
    }
