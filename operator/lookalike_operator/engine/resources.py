"""Our two kinds: kopf watches them, and every event goes to the store.

kopf is the watch shell only. None of its change detection is used, so it writes nothing to the
resources: no annotation, no finalizer. It does not tell of deletions that happened while it was
disconnected; a list of names at every resync does, and nothing is created for a resource that the
server does not confirm (apply/children.py).
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, cast

import kopf

from lookalike_crds.base import GROUP, VERSION
from lookalike_operator.cluster import FIELD_MANAGER, ApiError, Cluster
from lookalike_operator.engine.queue import Backoff
from lookalike_operator.kinds import OURS, Kind
from lookalike_operator.observe.store import Store

log = logging.getLogger(__name__)

_RECONNECT = Backoff(base=0.5, cap=30.0)


class OwnResources:
    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        namespaces: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self.synced = False

    async def sync(self) -> None:
        """List all of both kinds, once the cluster has them. Waits for as long as it takes."""
        failures = 0
        while True:
            try:
                for kind in OURS:
                    for namespace in self._namespaces:
                        listing = await self._cluster.list(kind, namespace)
                        self._store.relisted(
                            kind.api_version,
                            kind.kind,
                            namespace,
                            listing.items,
                            int(listing.resource_version),
                        )
                self.synced = True
                return
            except ApiError as error:
                failures += 1
                hint = ""
                if error.status == 404:
                    hint = ": install the CRDs (crds/*.yaml, or the chart)"
                log.warning("cannot list our resources: %s%s", error.message, hint)
                await asyncio.sleep(_RECONNECT.after(failures, random.random()))

    async def look_for_lost(self, every: float) -> None:
        """Now and then, drop what was deleted while nobody watched. Never returns."""
        while True:
            await asyncio.sleep(every * random.uniform(0.8, 1.2))
            try:
                for kind in OURS:
                    for namespace in self._namespaces:
                        await self._drop_lost(kind, namespace)
            except ApiError as error:
                log.info("resync: %s", error.message)

    async def _drop_lost(self, kind: Kind, namespace: str | None) -> None:
        listing = await self._cluster.list(kind, namespace, metadata_only=True)
        version = int(listing.resource_version)
        there = {item["metadata"]["uid"] for item in listing.items}
        for key in self._store.resources():
            if key.kind != kind.kind or namespace not in (None, key.namespace):
                continue
            known = self._store.known_resource(key)
            if known is not None and known.uid not in there and known.version <= version:
                self._store.drop_resource(key, known.uid)

    # -- kopf --------------------------------------------------------------------------------------

    async def watch(self, stop: asyncio.Event) -> None:
        """Run kopf until `stop`, or until it fails."""
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await self._connection()

        for kind in OURS:
            kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)(self._on_event)

        await kopf.operator(
            registry=registry,
            settings=_kopf_settings(),
            # Otherwise kopf asks for the user's name, and a pod's user has none.
            identity=cast(Any, FIELD_MANAGER),
            standalone=True,
            clusterwide=self._namespaces == (None,),
            namespaces=[n for n in self._namespaces if n is not None],
            stop_flag=stop,
        )

    async def _on_event(self, event: Any, **_: Any) -> None:
        live = dict(event["object"])
        if event["type"] == "DELETED":
            self._store.remove(live)
        else:
            self._store.put(live)

    async def _connection(self) -> kopf.ConnectionInfo:
        configuration = self._cluster.configuration
        token = await configuration.get_api_key_with_prefix("BearerToken")
        scheme, _, credentials = (token or "").partition(" ")
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            scheme=scheme.capitalize() or None,
            token=credentials or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf prepares to detect changes although nobody asks for them, and copies each object."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        pass


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.posting.enabled = False
    # Both kinds are known to be there, so nothing else has to be listed, watched or permitted.
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 150
    settings.networking.request_timeout = 30
    # An API server may be away for long; who must not wait for it loses the lease.
    settings.networking.error_backoffs = (0.5, 1, 2, 5, 10, *([20] * 1000))
    settings.queueing.idle_timeout = 0.05
    settings.queueing.exit_timeout = 1.0
    return settings
