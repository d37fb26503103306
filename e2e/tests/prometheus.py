"""A real Prometheus in the cluster: it scrapes serving pods by the job of docs/autoscaling.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import yaml

from e2e.cluster import restricted
from e2e.cluster.api import Object
from e2e.cluster.paths import ROOT
from e2e.tests.target import SYSTEM, Target
from e2e.tests.waiting import story, until, until_ready

_NAME = "prometheus"
_PORT = 9090
_SCRAPE = "3s"
_CLUSTER_WIDE = f"{SYSTEM}-{_NAME}"
ADDRESS = f"http://{_NAME}.{SYSTEM}:{_PORT}"
"""For pods."""


class Prometheus:
    """A pod that may list pods, and its Service."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._api = target.api

    def start(self) -> None:
        for manifest in _manifests(self._target.prometheus_image):
            self._api.apply(manifest, SYSTEM)
        until_ready(self._api, _path("pods"))
        # kube-proxy follows a Service's pods a moment after they are ready.
        told = partial(story, self._api, _path("pods"))
        until("answer of Prometheus by its Service", self._answers, 60, told)

    def stop(self) -> None:
        for plural in ("clusterroles", "clusterrolebindings"):
            path = f"/apis/rbac.authorization.k8s.io/v1/{plural}/{_CLUSTER_WIDE}"
            self._api.delete(path)
        self._api.delete(_path("pods"))

    def value(self, query: str) -> float | None:
        """What an instant query answers."""
        answer = self._get("/api/v1/query", query=query)
        assert answer.status_code == 200, answer.text
        found = answer.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def _answers(self) -> bool:
        try:
            return self._get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _get(self, path: str, **parameters: str) -> httpx.Response:
        route = self._target.route
        with route.client(route.to(self._api.get(_path("services"))), timeout=30) as client:
            return client.get(path, params=parameters)

    def until_scraped(self, namespace: str, retriever: str, told: Callable[[], str]) -> None:
        """Returns once there is a series of a pod of that Retriever."""
        query = f'lookalike_requests_in_flight{{namespace="{namespace}",retriever="{retriever}"}}'
        until("series of a serving pod", lambda: self.value(query) is not None or None, 90, told)


def _path(plural: str) -> str:
    return f"/api/v1/namespaces/{SYSTEM}/{plural}/{_NAME}"


def _manifests(image: str) -> list[Object]:
    meta = {"name": _NAME, "namespace": SYSTEM}
    cluster_wide = {"name": _CLUSTER_WIDE}
    rbac = "rbac.authorization.k8s.io"
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": cluster_wide,
            "rules": [pods],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": cluster_wide,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", **cluster_wide},
            "subjects": [{"kind": "ServiceAccount", **meta}],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            "data": {"prometheus.yml": yaml.safe_dump(_config())},
        },
        restricted.pod(
            _NAME,
            {
                "image": image,
                "args": [
                    "--config.file=/etc/prometheus/prometheus.yml",
                    "--storage.tsdb.path=/data",
                    f"--web.listen-address=:{_PORT}",
                ],
                "readinessProbe": {
                    "httpGet": {"path": "/-/ready", "port": _PORT},
                    "periodSeconds": 2,
                },
                "volumeMounts": [
                    {"name": "config", "mountPath": "/etc/prometheus"},
                    {"name": "data", "mountPath": "/data"},
                ],
            },
            labels={"app": _NAME},
            namespace=SYSTEM,
            serviceAccountName=_NAME,
            volumes=[
                {"name": "config", "configMap": {"name": _NAME}},
                {"name": "data", "emptyDir": {}},
            ],
        ),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": _NAME}, "ports": [{"name": "http", "port": _PORT}]},
        },
    ]


def _config() -> dict[str, Any]:
    """The documented job, scraped more often."""
    text = (ROOT / "docs" / "autoscaling.md").read_text()
    start = text.index("scrape_configs:")
    config: dict[str, Any] = yaml.safe_load(text[start : text.index("```", start)])
    for job in config["scrape_configs"]:
        job["scrape_interval"] = _SCRAPE
    return config
