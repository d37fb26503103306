"""The few calls of the Kubernetes API that the cluster needs to furnish itself, over plain HTTPS.

Not a client for products: objects are dictionaries, the credentials a token of our own kubeconfig.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
_MANAGER = "lookalike-e2e"


class Refused(Exception):
    """The API server's answer is not a success."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class Api:
    """The API server that one of our kubeconfigs names.

    Ours have a file of authorities and a token, or neither: then `kubectl proxy` is the server.
    """

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        token = document["users"][0]["user"].get("token")
        self._server: str = cluster["server"]
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        trust = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
        # Never through a proxy of this machine: the server is on this machine.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    def get(self, path: str, **query: str) -> Object:
        """The object or list at `path`. Raises Refused, and OSError where nothing answers."""
        return self._call("GET", path, query)

    def find(self, path: str) -> Object | None:
        """The object at `path`, None where there is none."""
        try:
            return self.get(path)
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise

    def text(self, path: str, **query: str) -> str:
        """What is no object: a log."""
        with self._open("GET", path, query, None, {}, 60) as answer:
            return str(answer.read().decode("utf-8", "replace"))

    def apply(self, manifest: Mapping[str, Any], namespace: str = "default") -> Object:
        """Server-side apply; ours wins over other writers."""
        query = {"fieldManager": _MANAGER, "force": "true"}
        kind = "application/apply-patch+yaml"
        return self._call("PATCH", self.path(manifest, namespace), query, manifest, kind)

    def create(self, path: str, body: Mapping[str, Any]) -> Object:
        """POST to a list or a subresource."""
        return self._call("POST", path, {}, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Object:
        """Merge patch."""
        return self._call("PATCH", path, {}, body, "application/merge-patch+json")

    def delete(self, path: str, grace_seconds: int | None = None) -> None:
        """Delete what is there; nothing there is fine. `grace_seconds`: instead of what each pod
        asks for."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        try:
            self._call("DELETE", path, query)
        except Refused as refusal:
            if refusal.status != 404:
                raise

    def watch(self, path: str, since: str, seconds: int) -> Iterator[Object]:
        """The events of a list from a resource version on, for so many seconds."""
        query = {"watch": "true", "resourceVersion": since, "timeoutSeconds": str(seconds)}
        with self._open("GET", path, query, None, {}, seconds + 30) as answer:
            for line in answer:
                yield json.loads(line)

    def path(self, manifest: Mapping[str, Any], namespace: str = "default") -> str:
        """Where an object lives."""
        version, kind = str(manifest["apiVersion"]), str(manifest["kind"])
        plural, namespaced = self._resource(version, kind)
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        metadata = manifest["metadata"]
        if namespaced:
            base += f"/namespaces/{metadata.get('namespace', namespace)}"
        return f"{base}/{plural}/{metadata['name']}"

    def _resource(self, version: str, kind: str) -> tuple[str, bool]:
        key = (version, kind)
        if key not in self._resources:
            base = f"/apis/{version}" if "/" in version else f"/api/{version}"
            for each in self.get(base)["resources"]:
                if "/" not in each["name"]:
                    self._resources[version, each["kind"]] = (each["name"], each["namespaced"])
        if key not in self._resources:
            raise Refused(404, "NotFound", f"the cluster knows no {kind} of {version}")
        return self._resources[key]

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> Object:
        content = None if body is None else json.dumps(body).encode()
        with self._open(method, path, query, content, {"Content-Type": kind}, 60) as answer:
            document: Object = json.load(answer)
            return document

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        content: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
    ) -> Any:
        url = f"{self._server}{path}"
        if query:
            url += f"?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, content, {**self._headers, **headers}, method=method)
        try:
            return self._opener.open(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            try:
                status = json.loads(text)
                reason, message = status.get("reason", ""), status.get("message", text)
            except ValueError:
                reason, message = error.reason, text
            raise Refused(error.code, reason, message) from None
