"""Of several operators, one is active: the holder of a Lease (coordination.k8s.io).

The rules are those of client-go, measured on the monotonic clock alone, so that a jump of the wall
clock neither creates nor removes a leader. The lease of another process has expired if *we* have
seen no change of it for its duration; our lease is lost if *we* have not renewed it for a shorter
time. A process that loses the lease ends: nothing is written without a certain right to do so.

kubernetes.aio.leaderelection was considered. It measures with the wall clock, its requests may hang
for longer than the lease lasts, and it writes local times as UTC.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from lookalike_crds.moments import now_text
from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import LEASE
from lookalike_operator.settings import LeaseTimes

log = logging.getLogger(__name__)

LEASE_NAME = "lookalike-operator"
_RELEASE_ATTEMPTS = 3


class LeaseLost(Exception):
    """Another process may be active now: stop at once."""


class Lease:
    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not times.retry < times.renew < times.duration:
            raise ValueError("a lease needs retry < renew < duration")
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._times = times
        self._clock = clock
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._held: dict[str, Any] | None = None

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        waiting = False
        while not await self._try():
            if not waiting:
                log.info("standing by: %s holds the lease", self._holder() or "nobody yet")
                waiting = True
            await asyncio.sleep(self._times.retry * random.uniform(0.8, 1.2))
        log.info("leading as %s", self.identity)

    async def hold(self) -> None:
        """Renew the lease until that fails. Raises LeaseLost; never returns."""
        renewed = self._clock()
        while True:
            await asyncio.sleep(self._times.retry)
            left = self._times.renew - (self._clock() - renewed)
            if left <= 0:
                raise LeaseLost(f"the lease was not renewed for {self._times.renew:g} s")
            try:
                # A request that hangs must not outlive our right to act.
                async with asyncio.timeout(left):
                    began = self._clock()
                    if await self._try():
                        renewed = began
                    elif self._holder() not in ("", self.identity):
                        raise LeaseLost(f"{self._holder()} holds the lease")
            except TimeoutError:
                continue

    async def release(self) -> None:
        """Let the next process take over at once. Best effort.

        What is known of the lease may be out of date: a renewal that was cut off may have been
        written all the same. So the lease is read again, and is only released if it is still ours.
        """
        for _ in range(_RELEASE_ATTEMPTS):
            try:
                live = await self._cluster.get(LEASE, self._namespace, self._name)
                holder = ((live or {}).get("spec") or {}).get("holderIdentity")
                if live is None or holder != self.identity:
                    break
                spec = {**live["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._cluster.replace({**live, "spec": spec})
                break
            except ApiError as error:
                if not error.conflict:
                    log.warning("the lease could not be released: %s", error.message)
                    break
        self._held = None

    async def _try(self) -> bool:
        """Take or renew the lease. False if another process holds it or the server did not
        answer."""
        try:
            live = await self._cluster.get(LEASE, self._namespace, self._name)
            if live is None:
                self._held = await self._cluster.create(self._manifest())
                return True
            self._watch(live)
            if self._holder() not in ("", self.identity) and not self._expired():
                return False
            self._held = await self._cluster.replace(self._taken(live))
            self._watch(self._held)
        except ApiError as error:
            if not error.conflict:
                log.warning("lease %s/%s: %s", self._namespace, self._name, error.message)
            return False
        return True

    def _holder(self) -> str:
        spec = (self._held or {}).get("spec") or {}
        return str(spec.get("holderIdentity") or "")

    def _watch(self, live: dict[str, Any]) -> None:
        self._held = live
        seen = (self._holder(), live["metadata"]["resourceVersion"])
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()

    def _expired(self) -> bool:
        spec = (self._held or {}).get("spec") or {}
        duration = float(spec.get("leaseDurationSeconds") or self._times.duration)
        return self._clock() - self._seen_at > duration

    def _manifest(self) -> dict[str, Any]:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec(now_text("microseconds"), 0),
        }

    def _taken(self, live: dict[str, Any]) -> dict[str, Any]:
        before = live.get("spec") or {}
        transitions = int(before.get("leaseTransitions") or 0)
        acquired = before.get("acquireTime")
        if before.get("holderIdentity") != self.identity:
            acquired, transitions = None, transitions + 1
        return {**live, "spec": self._spec(acquired or now_text("microseconds"), transitions)}

    def _spec(self, acquired: str, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._times.duration)),
            "acquireTime": acquired,
            "renewTime": now_text("microseconds"),
            "leaseTransitions": transitions,
        }
