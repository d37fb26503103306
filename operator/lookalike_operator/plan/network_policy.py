"""Who may connect to serving pods: `access.networkPolicy`, and the ports of a Ray cluster.

Only the cluster itself needs the ports of a Ray cluster (dashboard, GCS, client, replicas), so with
runtime KubeRay there is a policy unless the settings of the operator say otherwise.
"""

from __future__ import annotations

from typing import Any

from lookalike_crds.retriever import RetrieverSpec, Runtime
from lookalike_operator.plan import places
from lookalike_operator.plan.model import Manifest, Settings
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
_NAMESPACE = "kubernetes.io/metadata.name"
"""The API server sets this label: nobody can give it to another namespace."""


def is_wanted(spec: RetrieverSpec, settings: Settings) -> bool:
    by_default = spec.serving.runtime is Runtime.KUBE_RAY and settings.ray_network_policy
    return spec.access.network_policy or by_default


def serving_policy(owner: Owner, spec: RetrieverSpec, settings: Settings) -> Manifest:
    """With `access.networkPolicy`, the policy admits pods labelled `lookalike.dev/client` (with any
    value) in any namespace: applications, the ingress controller, Prometheus. Without it, the
    policy admits everyone at the public ports. It always admits ingestion, the Ray cluster itself,
    and KubeRay's operator."""
    client = {"matchExpressions": [{"key": CLIENT, "operator": "Exists"}]}
    ingestion = {"matchLabels": {MANAGED_BY: OPERATOR, COMPONENT: Component.INGESTION.value}}
    kuberay_runs_it = spec.serving.runtime is Runtime.KUBE_RAY
    more = (places.METRICS_PORT,) if kuberay_runs_it else ()
    ports = (places.PORT, *more, places.PROGRESS_PORT)
    from_whom = [{"namespaceSelector": {}, "podSelector": client}, {"podSelector": ingestion}]
    rules: list[dict[str, Any]] = [
        {
            **({"from": from_whom} if spec.access.network_policy else {}),
            "ports": [{"port": port, "protocol": "TCP"} for port in ports],
        }
    ]
    if kuberay_runs_it:
        namespace = {"matchLabels": {_NAMESPACE: settings.kuberay_namespace}}
        # As its Helm chart labels it, and as its kustomization does.
        kuberay = (
            {"matchLabels": {APP: "kuberay-operator"}},
            {"matchLabels": {COMPONENT: "kuberay-operator"}},
        )
        rules += [
            {"from": [{"podSelector": {"matchLabels": owner.selector(Component.SERVING)}}]},
            {
                "from": [
                    {"namespaceSelector": namespace, "podSelector": labels} for labels in kuberay
                ],
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
