"""A real Prometheus that finds serving pods by their annotations, as docs/autoscaling.md has it."""

from __future__ import annotations

import json
import urllib.request
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from e2e.cluster import network
from e2e.cluster.node import Node
from e2e.cluster.paths import ROOT

_NAME = "prometheus"
_PORT = 19090


class Prometheus:
    """On the node itself, at an address that pods reach."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._node = node
        self._folder = folder
        self.address = f"http://{network.NODE}:{_PORT}"

    def start(self) -> None:
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

    def stop(self) -> None:
        self._node.processes.stop(_NAME)

    def value(self, query: str) -> float | None:
        """What an instant query answers."""
        with self._open(f"/api/v1/query?{urlencode({'query': query})}") as answer:
            found = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def _config(self) -> dict[str, Any]:
        """The documented job, with this cluster's credentials and a shorter interval."""
        text = (ROOT / "docs" / "autoscaling.md").read_text()
        start = text.index("scrape_configs:")
        block = text[start : text.index("```", start)]
        config: dict[str, Any] = yaml.safe_load(block)
        for job in config["scrape_configs"]:
            job["scrape_interval"] = "3s"
            for discovery in job["kubernetes_sd_configs"]:
                discovery["kubeconfig_file"] = str(self._node.kubeconfig)
        return config

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
