"""Lists our two kinds, which adds what kopf's watch of them (handlers.py) does not report.

kopf reports neither that it has listed everything, without which "it does not exist" cannot be
known, nor what was deleted while it was disconnected. So both kinds are listed before the first
reconcile, and by name at every resync. Nothing is created for a resource whose existence the server
does not confirm (apply/children.py).
"""

from __future__ import annotations

import asyncio
import logging
import random

from lookalike_crds.backoff import Backoff
from lookalike_operator.cluster import ApiError, Cluster
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
        """List both kinds, once the cluster has them. Waits as long as that takes."""
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
                log.warning("cannot list the resources: %s%s", error.message, hint)
                await asyncio.sleep(_RECONNECT.after(failures))

    async def look_for_lost(self, every: float) -> None:
        """From time to time, drop what was deleted while no watch was connected. Never returns."""
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
