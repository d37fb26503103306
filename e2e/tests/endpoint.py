"""Asking a Retriever as an application would: its address and key, plain HTTP."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from e2e.cluster.api import Object
from e2e.tests.route import Route


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Retriever's Service, as its pods' clients reach it."""

    retriever: str
    address: str
    key: str
    route: Route

    def client(self, timeout: float = 30) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.route.client(self.address, headers=headers, timeout=timeout)

    def search(self, *queries: Object, **more: Any) -> list[Object]:
        with self.client() as client:
            answer = client.post(
                f"/v1/retrievers/{self.retriever}/search", json={"queries": queries, **more}
            )
            answer.raise_for_status()
            results: list[Object] = answer.json()["results"]
            return results

    def search_by_words(self, words: str, **more: Any) -> list[Object]:
        return self.search({"type": "text", "value": words}, **more)

    def search_by_picture(self, path: Path, **more: Any) -> list[Object]:
        value = base64.b64encode(path.read_bytes()).decode()
        return self.search({"type": "image", "value": value}, **more)

    def documents(self, collection: str) -> int:
        with self.client() as client:
            answer = client.get(f"/v1/collections/{collection}")
            answer.raise_for_status()
            return int(answer.json()["documents"])

    def answers(self) -> bool:
        """Whether it answers at all now."""
        try:
            with self.client(timeout=5) as client:
                return client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def until_it_answers(self, seconds: float) -> None:
        """kube-proxy follows a Service's pods a moment after they are ready."""
        deadline = time.monotonic() + seconds
        while not self.answers():
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.address} does not answer after {seconds:g} s")
            time.sleep(0.5)
