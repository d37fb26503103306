"""Asking a Retriever as an application would: its address and key, plain HTTP."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from e2e.cluster.api import Api, Object


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One Retriever's Service, reached through its cluster address, as kube-proxy routes it."""

    retriever: str
    address: str
    key: str

    @classmethod
    def of(cls, api: Api, namespace: str, retriever: str) -> Endpoint:
        service = api.get(f"/api/v1/namespaces/{namespace}/services/{retriever}")
        secret = api.get(f"/api/v1/namespaces/{namespace}/secrets/{retriever}-api-keys")
        keys = base64.b64decode(secret["data"]["keys"]).decode().split()
        port = service["spec"]["ports"][0]["port"]
        return cls(retriever, f"http://{service['spec']['clusterIP']}:{port}", keys[0])

    def client(self, timeout: float = 30) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        # Whatever proxy the machine's environment names, this address is on the machine.
        return httpx.Client(
            base_url=self.address, headers=headers, timeout=timeout, trust_env=False
        )

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
