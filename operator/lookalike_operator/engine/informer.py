"""Lists one kind and then watches it for ever, and puts every change into the store.

    list -> synced -> watch … watch (the server ends each after minutes) -> 410 -> list …

Whatever fails – the connection, the server, the version that we know – leads back to a watch from
the last version, or to a new list, after a jittered pause. A list reveals deletions that no watch
reported. A kind that the cluster lacks counts as synced and empty; the informer checks for it from
time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from lookalike_crds.backoff import Backoff
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import Kind
from lookalike_operator.metrics import Metrics
from lookalike_operator.observe.store import Store

log = logging.getLogger(__name__)

_RECONNECT = Backoff(base=0.2, cap=30.0, jitter=0.5)
_LOOK_FOR_ABSENT = 60.0


class Informer:
    """`namespace` None: the whole cluster. `labels`: objects without them do not exist for us."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        kind: Kind,
        namespace: str | None,
        *,
        labels: str,
        metrics: Metrics,
        look_for_absent: float = _LOOK_FOR_ABSENT,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self.kind = kind
        self._namespace = namespace
        self._labels = labels
        self._metrics = metrics
        self._look_for_absent = look_for_absent
        self._version: str | None = None
        self._failures = 0
        self.synced = asyncio.Event()
        self.present = False
        """Whether the cluster serves the kind."""

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            try:
                if self._version is None:
                    self._version = await self._list()
                if self._version is None:
                    await asyncio.sleep(self._look_for_absent * random.uniform(0.75, 1.25))
                    continue
                began = self._version
                await self._watch(began)
                if self._version == began:
                    # Ended without a word: no reason to hurry.
                    await asyncio.sleep(_RECONNECT.after(1))
            except ApiError as error:
                await self._recover(error)
            except Exception:
                # A defect must not blind us for good.
                self._version = None
                self._failures += 1
                log.exception("watch failed", extra={"kind": self.kind.kind})
                await asyncio.sleep(_RECONNECT.after(self._failures))

    async def _recover(self, error: ApiError) -> None:
        if error.expired or error.status == 404:
            self._version = None
            self._metrics.relisted(self.kind.plural)
        self._failures += 1
        self._log(error)
        pause = _RECONNECT.after(self._failures)
        await asyncio.sleep(max(pause, error.retry_after or 0.0))

    async def _list(self) -> str | None:
        try:
            listing = await self._cluster.list(self.kind, self._namespace, labels=self._labels)
        except ApiError as error:
            # Absent, or nobody has given us the right to it: either way it is not to be had.
            if error.status not in (403, 404) or not self.kind.optional:
                raise
            self._take([], 2**63)
            self.present = False
            self.synced.set()
            return None
        self.present = True
        self._take(listing.items, int(listing.resource_version))
        self.synced.set()
        return listing.resource_version

    def _take(self, items: list[dict[str, object]], version: int) -> None:
        kind = self.kind
        self._store.relisted(kind.api_version, kind.kind, self._namespace, items, version)

    async def _watch(self, version: str) -> None:
        """Follow one watch to its end."""
        stream = self._cluster.watch(self.kind, self._namespace, version, labels=self._labels)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                self._failures = 0
                if event.type == "DELETED":
                    self._store.remove(event.object)
                elif event.type != "BOOKMARK":
                    self._store.put(event.object)
                self._version = event.object["metadata"]["resourceVersion"]

    def _log(self, error: ApiError) -> None:
        # The first break is ordinary: servers restart, watches end.
        level = logging.WARNING if self._failures > 1 else logging.INFO
        log.log(
            level,
            "watch of %s: %s",
            self.kind.plural,
            error.message,
            extra={"kind": self.kind.kind, "reason": error.reason},
        )
