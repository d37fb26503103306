"""The whole operator, put together: who feeds whom, what starts first, how it ends.

    lease -> list -> informers synced -> workers -> kopf … stop -> drain -> release

Nothing is looked at before every kind has been listed, so that "not there" means that, and nothing
in a namespace before it is certain that no other release acts there. Losing the lease ends the
process at once, looks under way included.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
from dataclasses import dataclass, replace
from functools import partial

from lookalike_operator.apply.children import Children
from lookalike_operator.apply.events import EventWriter
from lookalike_operator.apply.execute import Executor
from lookalike_operator.cluster import Cluster
from lookalike_operator.engine.endpoint import Endpoint
from lookalike_operator.engine.informer import Informer
from lookalike_operator.engine.lease import LEASE_NAME, Lease, LeaseLost
from lookalike_operator.engine.namespaces import Namespaces, release_name
from lookalike_operator.engine.queue import KeyedQueue, Turn
from lookalike_operator.engine.resources import OwnResources
from lookalike_operator.engine.routing import concerned
from lookalike_operator.engine.workers import Verdict, Workers
from lookalike_operator.kinds import CHILDREN
from lookalike_operator.metrics import Metrics
from lookalike_operator.observe.memory import Memory
from lookalike_operator.observe.progress import Progresses
from lookalike_operator.observe.prometheus import Prometheus
from lookalike_operator.observe.qdrant import Qdrant
from lookalike_operator.observe.ray_schema import RaySchema
from lookalike_operator.observe.said import refused_pods, unprovisioned
from lookalike_operator.observe.scaling import samples
from lookalike_operator.observe.secrets import Secrets
from lookalike_operator.observe.snapshots import Observer
from lookalike_operator.observe.store import Change, Store
from lookalike_operator.plan.names import MANAGED_BY, OPERATOR
from lookalike_operator.reconcile import Planner, Reconciler
from lookalike_operator.settings import OperatorSettings

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _State:
    leading: bool = False
    working: bool = False
    """Everything has been listed and looks are taken."""


class Operator:
    """One operator process. `run` returns when `stop` is set, and raises what ended it else."""

    def __init__(
        self, settings: OperatorSettings, cluster: Cluster, planner: Planner, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._metrics = metrics
        self.identity = os.environ.get("POD_NAME") or f"{platform.node()}-{os.getpid()}"
        self.port: int | None = None
        """Of metrics and probes, once they are there."""
        self.store = Store()
        self.store.listen(self._changed)
        self.memory = Memory()
        self.queue = KeyedQueue()
        self._qdrant = Qdrant()
        self._progresses = Progresses()
        self._prometheus = Prometheus(settings.prometheus_url)
        self._informers = [
            Informer(
                cluster,
                self.store,
                kind,
                namespace,
                labels=f"{MANAGED_BY}={OPERATOR}",
                metrics=metrics,
            )
            for kind in CHILDREN
            if kind.watched
            for namespace in settings.namespaces or (None,)
        ]
        self._own = OwnResources(cluster, self.store, settings.namespaces)
        observer = Observer(
            store=self.store,
            memory=self.memory,
            settings=replace(settings.plan, cluster_id=cluster.identity),
            secrets=Secrets(cluster),
            progress=self._progresses.of,
            refused_pods=partial(refused_pods, cluster),
            unprovisioned=partial(unprovisioned, cluster),
            qdrant=self._qdrant,
            samples=lambda meta, spec: samples(
                self._prometheus, meta, spec, settings.prometheus_queries
            ),
            apis=self.apis,
            ray_features=RaySchema(cluster).features,
        )
        executor = Executor(
            cluster,
            self.store,
            Children(cluster, self.store, verify_secrets=settings.resync_seconds),
            EventWriter(cluster, self.identity),
        )
        self._reconciler = Reconciler(observer, executor, self.memory, planner)
        self.namespaces = Namespaces(
            cluster,
            settings.namespaces,
            release_name(settings.leader_election_namespace or platform.node()),
            settings.marks,
            wanted=lambda: {key.namespace for key in self.store.resources()},
            gained=self._gained,
        )
        self._workers = Workers(
            self.queue,
            self._look,
            metrics,
            count=settings.workers,
            resync=settings.resync_seconds,
        )
        self._state = _State()
        metrics.measure(
            lambda: self.queue.depth, lambda: len(self.store), lambda: len(self.namespaces.others)
        )

    def apis(self) -> frozenset[str]:
        """Optional APIs that the cluster serves, as snapshots name them."""
        return frozenset(i.kind.api for i in self._informers if i.kind.optional and i.present)

    @property
    def working(self) -> bool:
        """It leads, has seen everything, and looks are taken."""
        return self._state.working

    async def run(self, stop: asyncio.Event) -> None:
        endpoint = Endpoint(
            self._settings.metrics_host,
            self._settings.metrics_port,
            self._metrics,
            alive=self._missing_for_life,
            ready=self._missing_for_readiness,
        )
        self.port = await endpoint.start()
        log.info("metrics and probes on port %d", self.port)
        try:
            if self._settings.leader_election:
                await self._lead(stop)
            else:
                await self._work(stop)
        finally:
            await endpoint.stop()
            await self._qdrant.close()
            await self._prometheus.close()
            await self._progresses.close()

    async def _lead(self, stop: asyncio.Event) -> None:
        lease = Lease(
            self._cluster,
            self._settings.leader_election_namespace,
            LEASE_NAME,
            self.identity,
            self._settings.lease,
        )
        await _first(lease.acquire(), stop.wait())
        if stop.is_set():
            await lease.release()
            return
        try:
            # Whichever ends first ends the other: work without the lease is nobody's to do.
            await _first(self._hold(lease), self._work(stop))
        finally:
            await lease.release()

    async def _hold(self, lease: Lease) -> None:
        try:
            await lease.hold()
        except LeaseLost:
            # Before anything that takes its time to end.
            self._workers.abort()
            raise

    async def _work(self, stop: asyncio.Event) -> None:
        self._state.leading = True
        self._metrics.leads(True)
        background = [
            asyncio.create_task(i.run(), name=f"watch {i.kind.plural}") for i in self._informers
        ]
        try:
            await _first(self._sync(), stop.wait())
            if stop.is_set():
                return
            background.append(asyncio.create_task(self.namespaces.run(), name="marks"))
            self._workers.start()
            self._state.working = True
            log.info("working", extra={"objects": len(self.store), "apis": sorted(self.apis())})
            background.append(
                asyncio.create_task(self._own.look_for_lost(self._settings.resync_seconds))
            )
            await self._own.watch(stop)
            # kopf takes the signals while it runs.
            stop.set()
        finally:
            self._metrics.leads(False)
            await self._workers.drain(self._settings.drain_seconds if stop.is_set() else 0.0)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            self._state.working = self._state.leading = False

    async def _sync(self) -> None:
        await self._own.sync()
        for informer in self._informers:
            await informer.synced.wait()

    async def _look(self, turn: Turn) -> Verdict:
        there = self.store.known_resource(turn.key) is not None
        if there and not self.namespaces.ours(turn.key.namespace):
            # Looked at as soon as it is: `_gained`.
            return Verdict()
        return await self._reconciler.look(turn)

    def _gained(self, namespace: str) -> None:
        for key in self.store.resources():
            if key.namespace == namespace:
                self.queue.add(key, "this release acts here now")

    def _changed(self, change: Change) -> None:
        """The one place where news becomes work."""
        before, after = change.before, change.after
        known = after or before
        if known is None:
            return
        if known.outward and before is not None and before.generation != known.generation:
            # Another spec: what failed with the old one says nothing about it.
            self.queue.succeeded(known.key) if known.key else None
        verb = "changed" if before and after else "appeared" if after else "went"
        for key in concerned(change, self.store):
            self.queue.add(key, f"{known.ref} {verb}")

    def _missing_for_life(self) -> str | None:
        if self._state.working and not self._workers.alive:
            return "a worker has died"
        return None

    def _missing_for_readiness(self) -> str | None:
        if not self._state.leading:
            return None
        if self._state.working:
            return self.namespaces.missing() if any(self.store.resources()) else None
        waiting = [i.kind.plural for i in self._informers if not i.synced.is_set()]
        if not self._own.synced:
            waiting.insert(0, "imagecollections and retrievers")
        return f"not listed yet: {', '.join(waiting)}"


async def _first(*work: object) -> None:
    """Run all until the first ends; cancel the others; raise what it raised."""
    tasks = [asyncio.ensure_future(each) for each in work]  # type: ignore[call-overload]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
