"""Pods of the tests, as restricted as the product's own."""

from __future__ import annotations

from typing import Any

from e2e.cluster.api import Object

_USER = 10001


def pod(
    name: str,
    container: Object,
    *,
    labels: dict[str, str] | None = None,
    namespace: str | None = None,
    **spec: Any,
) -> Object:
    """A pod of one container that the restricted pod security standard lets in.

    `container`: its name is the pod's unless it has one. `spec`: more of the pod's spec.
    """
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    security |= container.get("securityContext", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            **({"labels": labels} if labels else {}),
        },
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{"name": name, **container, "securityContext": security}],
            **spec,
        },
    }
