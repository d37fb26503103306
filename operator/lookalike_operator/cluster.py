"""The Kubernetes API as the operator uses it: JSON in, JSON out, every request bounded.

A thin layer over the transport and the credentials of the official client. Its generated models are
not used: objects are compared key by key, and a model would drop what it does not know. This module
does *not* cache (observe/store.py does), retry (the queue does: a failed reconcile is repeated as a
whole) or decide anything.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode
from urllib.request import getproxies_environment

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from lookalike_operator.errors import ApiError, NoCluster, error_of
from lookalike_operator.kinds import POD, Kind, kind_of
from lookalike_operator.plan.model import Manifest

__all__ = [
    "FIELD_MANAGER",
    "STATUS_MANAGER",
    "ApiError",
    "Cluster",
    "NoCluster",
    "OnCall",
    "Timeouts",
]

FIELD_MANAGER = "lookalike-operator"
STATUS_MANAGER = "lookalike-operator-status"

_PAGE = 500
_DRY_RUN = {"dryRun": "All"}
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"
_APPLY = "application/apply-patch+yaml"
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

Json = dict[str, Any]
OnCall = Callable[[str, str, int, float], None]
"""(verb, resource, status code or 0, seconds) of each request."""


class WatchEvent(NamedTuple):
    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK."""
    object: Json


class Listing(NamedTuple):
    items: list[Json]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Timeouts:
    request: float = 30.0
    connect: float = 10.0
    watch: int = 300
    """Seconds until the server ends a watch, which is then begun again."""
    quiet: float = 330.0
    """A watch that says nothing for so long is dead: the server would have ended it before."""


class Cluster:
    """One API server."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        timeouts: Timeouts | None = None,
        on_call: OnCall | None = None,
    ) -> None:
        self.configuration = configuration
        self._client = ApiClient(configuration)
        self._client.user_agent = FIELD_MANAGER
        self._timeouts = timeouts or Timeouts()
        self._on_call = on_call

    @classmethod
    async def connect(
        cls,
        kubeconfig: str | None = None,
        context: str | None = None,
        *,
        timeouts: Timeouts | None = None,
        on_call: OnCall | None = None,
    ) -> Self:
        """By a kubeconfig, or as the pod's ServiceAccount if none is given. Raises NoCluster."""
        configuration = Configuration()
        try:
            if kubeconfig is not None:
                await load_kube_config(
                    config_file=kubeconfig, context=context, client_configuration=configuration
                )
            else:
                load_incluster_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            where = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's ServiceAccount"
            raise NoCluster(
                f"{where} cannot be used: {error}; outside a cluster, give --kubeconfig FILE"
            ) from error
        # Requests are bounded by workers, not by the connection pool: watches hold connections.
        configuration.connection_pool_maxsize = 0
        # Only where a proxy is configured: looking for one costs two thread hops a request.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies_environment())}
        return cls(configuration, timeouts=timeouts, on_call=on_call)

    @property
    def identity(self) -> str:
        """Distinguishes this cluster from others: a digest of the certificate authority that
        verifies it.

        Empty if it is not verified, or is verified by the authorities of the machine.
        """
        try:
            authority = Path(self.configuration.ssl_ca_cert or "").read_bytes()
        except OSError:
            return ""
        return hashlib.sha256(b"".join(authority.split())).hexdigest()[:12]

    async def close(self) -> None:
        await self._client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- reading -----------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """None if it is not there."""
        try:
            return await self._request("GET", "get", kind, kind.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> Listing:
        """All of a namespace, or (None) of the cluster, in pages of one consistent version."""
        items: list[Json] = []
        query: dict[str, str] = {"limit": str(_PAGE)}
        if labels:
            query["labelSelector"] = labels
        if fields:
            query["fieldSelector"] = fields
        while True:
            page = await self._request(
                "GET",
                "list",
                kind,
                kind.path(namespace),
                query=query,
                accept=_METADATA_ONLY.replace("Metadata;", "MetadataList;")
                if metadata_only
                else _JSON,
            )
            for item in page.get("items") or ():
                # Items of a list leave these out; every other place wants them.
                item["apiVersion"], item["kind"] = kind.api_version, kind.kind
                items.append(item)
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                return Listing(items, str(meta.get("resourceVersion", "")))
            query["continue"] = meta["continue"]

    async def watch(
        self, kind: Kind, namespace: str | None, resource_version: str, *, labels: str | None = None
    ) -> AsyncGenerator[WatchEvent, None]:
        """Changes since a version until the server ends the watch. Raises ApiError, 410 too."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(self._timeouts.watch),
        }
        if labels:
            query["labelSelector"] = labels
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.quiet
        )
        response = await self._send(
            "GET", "watch", kind, kind.path(namespace), query=query, timeout=timeout
        )
        try:
            while line := await response.content.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise error_of(int(event["object"].get("code") or 0), event["object"])
                yield WatchEvent(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiError(
                0, "WatchBroken", f"the watch of {kind.plural} ended with an error: {error!r}"
            ) from error
        finally:
            response.close()

    async def serves(self, kind: Kind) -> bool:
        """Whether the cluster has the kind at all."""
        root = "/api" if "/" not in kind.api_version else "/apis"
        try:
            answer = await self._request("GET", "get", kind, f"{root}/{kind.api_version}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return any(r.get("name") == kind.plural for r in answer.get("resources") or ())

    async def schema(self, kind: Kind) -> Json:
        """The OpenAPI document of the kind's group and version, as everybody may read it."""
        return await self._request("GET", "get", kind, f"/openapi/v3/apis/{kind.api_version}")

    async def log(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> str:
        """The last lines of a container's log."""
        response = await self._send(
            "GET",
            "get",
            POD,
            POD.path(namespace, pod, "log"),
            query={
                "container": container,
                "tailLines": str(tail),
                "previous": "true" if previous else "false",
            },
            timeout=aiohttp.ClientTimeout(
                total=self._timeouts.request, sock_connect=self._timeouts.connect
            ),
            accept="*/*",
        )
        try:
            return (await response.read()).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(
                0, "NoAnswer", f"the log of {pod} ended with an error: {error!r}"
            ) from error

    # -- writing -----------------------------------------------------------------------------------

    async def apply(self, manifest: Manifest, *, force: bool, dry_run: bool = False) -> Json:
        """Server-side apply. Not `force`: raises a conflict where others set one of our fields."""
        kind, namespace, name = _place(manifest)
        return await self._request(
            "PATCH",
            "apply",
            kind,
            kind.path(namespace, name),
            query={
                "fieldManager": FIELD_MANAGER,
                "force": "true" if force else "false",
                **(_DRY_RUN if dry_run else {}),
            },
            body=manifest,
            content_type=_APPLY,
        )

    async def apply_new(self, manifest: Manifest) -> Json | None:
        """Server-side apply of an object that is not there yet. None if one of that name is
        there, or another writes one this very moment: it stays as it is."""
        # An apply that names a version goes to that version or, if there is no object at all, to
        # a new one. No object is of this version, since the first revision of etcd holds none.
        meta = {**manifest["metadata"], "resourceVersion": "1"}
        try:
            return await self.apply({**manifest, "metadata": meta}, force=False)
        except ApiError as error:
            if not error.conflict:
                raise
            return None

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Json:
        """Not `dry_run`: stored. Otherwise only checked and answered as it would be."""
        kind, namespace, _ = _place(manifest)
        return await self._request(
            "POST",
            "create",
            kind,
            kind.path(namespace),
            query={"fieldManager": FIELD_MANAGER, **(_DRY_RUN if dry_run else {})},
            body=manifest,
        )

    async def replace(self, manifest: Manifest, *, dry_run: bool = False) -> Json:
        """PUT: with its resourceVersion, only over the version that it was made from."""
        kind, namespace, name = _place(manifest)
        return await self._request(
            "PUT",
            "update",
            kind,
            kind.path(namespace, name),
            query=_DRY_RUN if dry_run else None,
            body=manifest,
        )

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
        manager: str = FIELD_MANAGER,
    ) -> Json:
        """JSON merge patch (RFC 7396)."""
        return await self._request(
            "PATCH",
            "patch",
            kind,
            kind.path(namespace, name, subresource),
            query={"fieldManager": manager},
            body=body,
            content_type=_MERGE_PATCH,
        )

    async def replace_spec(self, live: Manifest, spec: Mapping[str, Any]) -> Json:
        """Another spec, as a whole, for the object of that uid."""
        kind, namespace, name = _place(live)
        return await self._request(
            "PATCH",
            "patch",
            kind,
            kind.path(namespace, name),
            query={"fieldManager": FIELD_MANAGER},
            body=[
                {"op": "test", "path": "/metadata/uid", "value": live["metadata"]["uid"]},
                {"op": "replace", "path": "/spec", "value": spec},
            ],
            content_type=_JSON_PATCH,
        )

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> Json | None:
        """The object of that uid and what it owns. Gives it as long as finalizers keep it there;
        None if it is gone, or another one has its name."""
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        try:
            answer = await self._request(
                "DELETE", "delete", kind, kind.path(namespace, name), body=body
            )
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return None
        return answer if answer.get("kind") == kind.kind else None

    # -- the wire ----------------------------------------------------------------------------------

    async def _request(
        self,
        method: str,
        verb: str,
        kind: Kind,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Json:
        timeout = aiohttp.ClientTimeout(
            total=self._timeouts.request, sock_connect=self._timeouts.connect
        )
        response = await self._send(
            method,
            verb,
            kind,
            path,
            query=query,
            body=body,
            content_type=content_type,
            accept=accept,
            timeout=timeout,
        )
        try:
            answer: Json = json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiError(
                0, "NoAnswer", f"{method} {path}: the answer ended early: {error!r}"
            ) from error
        return answer

    async def _send(
        self,
        method: str,
        verb: str,
        kind: Kind,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content_type}
        headers.update(self._client.default_headers)
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        url = self.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        started = time.monotonic()
        status = 0
        try:
            answer = await self._client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
            response: aiohttp.ClientResponse = answer.response
            status = response.status
            if status < 400:
                return response
            try:
                document = json.loads(await response.read())
            except ValueError:
                document = {}
            raise error_of(status, document, f"{method} {path}", response.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise ApiError(0, "NoAnswer", f"{method} {path}: no answer: {said}") from error
        finally:
            if self._on_call is not None:
                self._on_call(verb, kind.plural, status, time.monotonic() - started)


def _place(manifest: Manifest) -> tuple[Kind, str, str]:
    meta = manifest["metadata"]
    kind = kind_of(manifest["apiVersion"], manifest["kind"])
    return kind, meta["namespace"], meta["name"]
