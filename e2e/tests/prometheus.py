"""A real Prometheus that scrapes serving pods, by the job that docs/autoscaling.md has.

Debian's Prometheus is built without discovery by Kubernetes, so a thread lists the pods in its
place and hands them over as files, with the labels that discovery would give them: the documented
relabelling then does its work.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from e2e.cluster import network
from e2e.cluster.api import Api, Object, Refused
from e2e.cluster.node import Node
from e2e.cluster.paths import ROOT
from e2e.tests.waiting import until

_NAME = "prometheus"
_PORT = 19090
_LIST_SECONDS = 2.0
_PODS = "/api/v1/pods"


class Prometheus:
    """On the node itself, at an address that pods reach."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._node = node
        self._folder = folder
        self._targets = folder / "targets.json"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._discover, daemon=True)
        self.address = f"http://{network.NODE}:{_PORT}"

    def start(self) -> None:
        self._targets.write_text("[]")
        config = self._folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config()))
        self._node.processes.start(
            _NAME,
            [
                *("prometheus", f"--config.file={config}"),
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={network.NODE}:{_PORT}",
            ],
        )
        self._node.processes.wait(_NAME, "answer", self._ready, 60)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(30)
        self._node.processes.stop(_NAME)

    def value(self, query: str) -> float | None:
        """What an instant query answers."""
        with self._open(f"/api/v1/query?{urlencode({'query': query})}") as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def until_scraped(self, namespace: str, retriever: str, told: Callable[[], str]) -> None:
        """Returns once there is a series of a pod of that Retriever."""
        query = f'lookalike_requests_in_flight{{namespace="{namespace}",retriever="{retriever}"}}'
        until("series of a serving pod", lambda: self.value(query) is not None or None, 90, told)

    def _config(self) -> dict[str, Any]:
        """The documented job, scraped more often, its pods from our list."""
        text = (ROOT / "docs" / "autoscaling.md").read_text()
        start = text.index("scrape_configs:")
        config: dict[str, Any] = yaml.safe_load(text[start : text.index("```", start)])
        for job in config["scrape_configs"]:
            job["scrape_interval"] = "3s"
            assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
            job["file_sd_configs"] = [{"files": [str(self._targets)], "refresh_interval": "5s"}]
        return config

    def _discover(self) -> None:
        api = Api(self._node.kubeconfig)
        half = self._targets.with_suffix(".half")
        while not self._ended.wait(_LIST_SECONDS):
            try:
                pods = api.get(_PODS)["items"]
            except (OSError, Refused):
                continue
            half.write_text(json.dumps([t for pod in pods for t in _targets(pod)]))
            half.replace(self._targets)

    def _ready(self) -> bool:
        try:
            with self._open("/-/ready") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _open(self, path: str) -> HTTPResponse:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        answer: HTTPResponse = opener.open(self.address + path, timeout=10)
        return answer


def _targets(pod: Object) -> list[Object]:
    """One for each port of a pod, labelled as `kubernetes_sd_configs` with role pod does."""
    meta, address = pod["metadata"], pod["status"].get("podIP")
    if not address:
        return []
    labels = {
        "__meta_kubernetes_namespace": meta["namespace"],
        "__meta_kubernetes_pod_name": meta["name"],
    }
    for kind in ("label", "annotation"):
        for key, value in (meta.get(f"{kind}s") or {}).items():
            labels[f"__meta_kubernetes_pod_{kind}_{re.sub('[^a-zA-Z0-9_]', '_', key)}"] = value
    return [
        {
            "targets": [f"{address}:{port['containerPort']}"],
            "labels": {
                **labels,
                "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
                "__meta_kubernetes_pod_container_port_number": str(port["containerPort"]),
            },
        }
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
    ]
