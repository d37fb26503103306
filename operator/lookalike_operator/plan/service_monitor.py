"""For the Prometheus operator, if the cluster has it: scrapes serving pods and labels the series.

Autoscaling selects series by the labels `namespace` and `retriever` (promql.py).
"""

from __future__ import annotations

from lookalike_crds.retriever import RetrieverSpec, Runtime
from lookalike_operator.plan import places
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import Component, Owner

API = "monitoring.coreos.com/v1/ServiceMonitor"
_NAME_LABEL = "__meta_kubernetes_service_label_lookalike_dev_name"


def serving_monitor(owner: Owner, spec: RetrieverSpec) -> Manifest:
    # Behind the Service of a RayService, port 8000 of each pod reaches any replica.
    kuberay = spec.serving.runtime is Runtime.KUBE_RAY
    port = {"targetPort": places.METRICS_PORT} if kuberay else {"port": "http"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": owner.metadata(owner.name, Component.SERVING),
        "spec": {
            "selector": {"matchLabels": owner.selector(Component.SERVING)},
            "endpoints": [
                {
                    **port,
                    "path": "/metrics",
                    "interval": "15s",
                    "relabelings": [
                        {"sourceLabels": [_NAME_LABEL], "targetLabel": "retriever"},
                    ],
                }
            ],
        },
    }
