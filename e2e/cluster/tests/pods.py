"""Pods and claims as these tests make them."""

from __future__ import annotations

from typing import Any

from e2e.cluster import restricted
from e2e.cluster.api import Api
from e2e.cluster.images import BASE

SECONDS = 240


def phase(api: Api, path: str) -> str:
    return str(api.get(path).get("status", {}).get("phase"))


def ended(api: Api, path: str) -> bool:
    return phase(api, path) in ("Succeeded", "Failed")


def claim(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


CLAIMED = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
AT_DATA = {"name": "data", "mountPath": "/data"}


def pod(
    namespace: str,
    command: list[str],
    *,
    image: str = BASE,
    environment: list[dict[str, str]] | None = None,
    volumes: list[dict[str, Any]] | None = None,
    mounts: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The pod `worker`, which runs once. An empty command is the image's."""
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "env": environment or [],
        "volumeMounts": mounts or [],
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    if command:
        container["command"] = command
    return restricted.pod(
        "worker",
        container,
        namespace=namespace,
        restartPolicy="Never",
        terminationGracePeriodSeconds=1,
        volumes=volumes or [],
    )
