"""What the Ray clusters of serving and of ingestion have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lookalike_crds.quantities import amount
from lookalike_operator.plan import serving_pod
from lookalike_operator.plan.model import Settings
from lookalike_operator.plan.pod_template import container_security

TOKEN_AUTHENTICATION = "ray.io/v1/RayService:authOptions"
"""Among the APIs of a snapshot: the installed KubeRay creates tokens, and uses them with Ray."""
AUTHENTICATION = {"mode": "token"}
"""KubeRay creates a Secret for each cluster, gives its token to the head, the workers and the
autoscaler, and uses it for the dashboard itself."""
HEAD_RESOURCES = {
    "requests": {"cpu": "500m", "memory": "2Gi"},
    "limits": {"memory": "4Gi"},
}
HEAD_PORTS = (
    {"name": "gcs-server", "containerPort": 6379, "protocol": "TCP"},
    {"name": "dashboard", "containerPort": 8265, "protocol": "TCP"},
    {"name": "client", "containerPort": 10001, "protocol": "TCP"},
)

_WORKER_IDLE_SECONDS = 60
_AUTOSCALER_IDENTITY = "autoscaler-identity"
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_PLACING = frozenset({"nodeSelector", "affinity", "tolerations", "topologySpreadConstraints"})


def autoscaling(settings: Settings, tmp: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of a RayClusterSpec that adds and removes workers for what actors ask for.

    `tmp`: mounts of what its container may write to.
    """
    return {
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "idleTimeoutSeconds": _WORKER_IDLE_SECONDS,
            "upscalingMode": "Default",
            # It may change the Ray cluster: not with an image of somebody else's choice.
            "image": settings.serving_image,
            "imagePullPolicy": settings.image_pull_policy,
            "securityContext": container_security(),
            "env": serving_pod.environment(),
            "resources": {
                "requests": {"cpu": "100m", "memory": "512Mi"},
                "limits": {"memory": "512Mi"},
            },
            "volumeMounts": [
                *tmp,
                {"name": _AUTOSCALER_IDENTITY, "mountPath": _SERVICE_ACCOUNT, "readOnly": True},
            ],
        },
    }


def autoscaler_identity() -> dict[str, Any]:
    """What Kubernetes would mount into every container of the pod, for the autoscaler alone."""
    namespace = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources: list[dict[str, Any]] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {"downwardAPI": {"items": [{"path": "namespace", **namespace}]}},
    ]
    return {"name": _AUTOSCALER_IDENTITY, "projected": {"sources": sources}}


def for_head(override: dict[str, Any] | None) -> dict[str, Any] | None:
    """A user's pod template without what places pods (on GPU nodes, for example) or sizes them: the
    head runs no model."""
    if override is None:
        return None
    kept = {k: v for k, v in override.get("spec", {}).items() if k not in _PLACING}
    containers = [
        {k: v for k, v in container.items() if k != "resources"}
        for container in kept.get("containers") or ()
    ]
    return {**override, "spec": {**kept, **({"containers": containers} if containers else {})}}


def cpus(resources: Mapping[str, Any]) -> int:
    """Whole CPUs of a worker whose container has these resources."""
    for part in ("limits", "requests"):
        if (found := amount(resources.get(part, {}).get("cpu"))) is not None:
            return max(1, math.ceil(found))
    return 1
