"""KubeRay on the node: a small Ray of the mounted environment comes up and answers."""

from __future__ import annotations

from typing import Any

import pytest

from e2e.cluster import serving_env
from e2e.cluster.api import Api
from e2e.cluster.serving_env import ServingEnvironment
from e2e.cluster.waiting import until
from e2e.conftest import SessionNode

pytestmark = [pytest.mark.node, pytest.mark.slow]
_SECONDS = 400


def test_kuberay_brings_up_a_ray_of_the_mounted_environment(
    session_node: SessionNode, namespace: str
) -> None:
    session_node.node.up(with_kuberay=True)
    api = session_node.api
    manifest = _cluster(namespace, serving_env.ensure())
    api.apply(manifest)
    path = api.path(manifest)
    until(lambda: api.get(path).get("status", {}).get("state") == "ready", "ready Ray", _SECONDS)
    service = f"/api/v1/namespaces/{namespace}/services/small-head-svc:dashboard/proxy"
    assert "ray_version" in api.get(f"{service}/api/version")
    # KubeRay ends the pods by the namespace's end only when its own object is gone.
    api.delete(path)
    until(lambda: _pods(api, namespace) == [], "end of Ray's pods", _SECONDS)


def _pods(api: Api, namespace: str) -> list[Any]:
    items: list[Any] = api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return items


def _cluster(namespace: str, environment: ServingEnvironment) -> dict[str, Any]:
    usage = {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}
    home = {"name": "HOME", "value": "/tmp"}
    container = {
        "name": "ray-head",
        "image": environment.image,
        "env": [*environment.environment(), usage, home],
        "volumeMounts": environment.volume_mounts(),
        "resources": {"limits": {"cpu": "2", "memory": "3Gi"}, "requests": {"cpu": "100m"}},
        "ports": [{"name": "dashboard", "containerPort": 8265}],
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "small", "namespace": namespace},
        "spec": {
            "rayVersion": "2.60.0",
            "headGroupSpec": {
                "rayStartParams": {
                    "num-cpus": "1",
                    "dashboard-host": "0.0.0.0",
                    "object-store-memory": "100000000",
                },
                "template": {
                    "spec": {
                        "containers": [container],
                        "volumes": environment.volumes(),
                        "terminationGracePeriodSeconds": 5,
                        "securityContext": {"runAsUser": 10001, "runAsGroup": 10001},
                    }
                },
            },
        },
    }
