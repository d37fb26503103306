"""The whole operator, put together: what feeds what, what starts first, how it ends.

    start: probes -> lease -> list -> informers synced -> workers      stop: drain -> release

kopf calls both, and watches our own kinds in between (handlers.py). Nothing is reconciled before
every kind has been listed, so that a missing object is known to be missing, and nothing in a
namespace before it is certain that no other release is active there. Losing the lease ends the
process at once, including running reconciles.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Self

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
from lookalike_operator.engine.routing import concerned, patience
from lookalike_operator.engine.workers import Verdict, Workers
from lookalike_operator.kinds import CHILDREN
from lookalike_operator.metrics import Metrics
from lookalike_operator.observe.memory import Memory
from lookalike_operator.observe.progress import Progresses
from lookalike_operator.observe.prometheus import Prometheus
from lookalike_operator.observe.qdrant import Qdrant
from lookalike_operator.observe.ray_schema import RaySchema
from lookalike_operator.observe.reports import Reports
from lookalike_operator.observe.said import Explanations
from lookalike_operator.observe.scaling import samples
from lookalike_operator.observe.secrets import Secrets
from lookalike_operator.observe.snapshots import Observer
from lookalike_operator.observe.store import Change, Store
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.names import MANAGED_BY, OPERATOR
from lookalike_operator.plan.retriever import plan_retriever
from lookalike_operator.reconcile import Planner, Reconciler
from lookalike_operator.settings import OperatorSettings

log = logging.getLogger(__name__)


class Operator:
    """One operator process: `start` once, `stop` at the end."""

    def __init__(
        self,
        settings: OperatorSettings,
        cluster: Cluster,
        metrics: Metrics,
        *,
        identity: str,
        end: Callable[[], None],
    ) -> None:
        """`identity`: of this process among the replicas. `end`: makes kopf end the process, and
        is called if the operator cannot go on. `stop` closes the cluster's connection."""
        self.settings = settings
        self.cluster = cluster
        self._metrics = metrics
        self._identity = identity
        self._end = end
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
        explanations = Explanations(cluster)
        secrets = Secrets(cluster)
        self._reports = Reports(secrets.value, settings.plan)
        observer = Observer(
            store=self.store,
            memory=self.memory,
            settings=replace(settings.plan, cluster_id=cluster.identity),
            secrets=secrets,
            progress=self._progresses.of,
            report=self._reports.of,
            retriever_report=self._reports.of_retriever,
            refused_pods=explanations.refused_pods,
            unprovisioned=explanations.unprovisioned,
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
            EventWriter(cluster, identity),
        )
        self._reconciler = Reconciler(
            observer, executor, self.memory, Planner(plan_collection, plan_retriever)
        )
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
        self._endpoint = Endpoint(
            settings.metrics_host,
            settings.metrics_port,
            metrics,
            alive=self.missing_for_life,
            ready=self._missing_for_readiness,
        )
        self._lease: Lease | None = None
        self._background: list[asyncio.Task[None]] = []
        self._leading = False
        self._stopping = False
        self.working = False
        """Whether it leads, has listed everything, and reconciles resources."""
        self.failure: Exception | None = None
        """Why it could not start, or go on."""
        metrics.measure(
            lambda: self.queue.depth, lambda: len(self.store), lambda: len(self.namespaces.others)
        )

    @classmethod
    async def connect(cls, settings: OperatorSettings) -> Self:
        """One that is all of its process, for the cluster that the settings name.

        Raises NoCluster."""
        metrics = Metrics()
        cluster = await Cluster.connect(
            settings.kubeconfig, settings.context, on_call=metrics.called
        )
        identity = os.environ.get("POD_NAME") or f"{platform.node()}-{os.getpid()}"
        end = partial(signal.raise_signal, signal.SIGTERM)
        return cls(settings, cluster, metrics, identity=identity, end=end)

    def apis(self) -> frozenset[str]:
        """Optional APIs that the cluster serves, as snapshots name them."""
        return frozenset(i.kind.api for i in self._informers if i.kind.optional and i.present)

    async def start(self) -> None:
        """Everything up to the first look. Waits for the lease, then until our kinds are served.

        Raises OSError if the port is taken, and LeaseLost. kopf runs no cleanup after a startup
        that failed or was cut off, so what has been started is stopped here.
        """
        try:
            self.port = await self._endpoint.start()
            log.info("metrics and probes on port %d", self.port)
            if self.settings.leader_election:
                await self._lead()
            self._leading = True
            self._metrics.leads(True)
            for informer in self._informers:
                self._spawn(informer.run(), f"watch {informer.kind.plural}")
            await self._sync()
            self._spawn(self.namespaces.run(), "marks")
            self._workers.start()
            self.working = True
            log.info("working", extra={"objects": len(self.store), "apis": sorted(self.apis())})
            self._spawn(self._own.look_for_lost(self.settings.resync_seconds), "resync")
        except BaseException as error:
            if isinstance(error, Exception):
                self.failure = error
            await self.stop()
            if self.failure is not None:
                raise self.failure from None
            raise

    async def stop(self) -> None:
        """Running reconciles may finish if this process still leads; then the lease is released."""
        self._stopping = True
        self._metrics.leads(False)
        await self._workers.drain(0.0 if self.failure else self.settings.drain_seconds)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.working = self._leading = False
        if self._lease is not None:
            await self._lease.release()
        await self._endpoint.stop()
        await self._qdrant.close()
        await self._prometheus.close()
        await self._progresses.close()
        await self._reports.close()
        await self.cluster.close()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run in the background until `stop`. Nothing here ends by itself: if something does, the
        process ends."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._background.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._stopping or task.cancelled():
            return
        error = task.exception()
        self.failure = error if isinstance(error, Exception) else RuntimeError(f"{task} ended")
        self._end()

    async def _lead(self) -> None:
        """Wait for the lease, and hold it from then on."""
        self._lease = Lease(
            self.cluster,
            self.settings.leader_election_namespace,
            LEASE_NAME,
            self._identity,
            self.settings.lease,
        )
        await self._lease.acquire()
        self._spawn(self._hold(self._lease), "lease")

    async def _hold(self, lease: Lease) -> None:
        try:
            await lease.hold()
        except LeaseLost:
            # Before anything that takes its time to end.
            self._workers.abort()
            raise

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
                self.queue.add(key, "this release is now active here")

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
            self.queue.add(key, f"{known.ref} {verb}", patience(change))

    def missing_for_life(self) -> str | None:
        """Why the process must be started again; None: it need not."""
        if self.working and not self._workers.alive:
            return "a worker has ended unexpectedly"
        return None

    def _missing_for_readiness(self) -> str | None:
        if not self._leading:
            return None
        if self.working:
            return self.namespaces.missing() if any(self.store.resources()) else None
        waiting = [i.kind.plural for i in self._informers if not i.synced.is_set()]
        if not self._own.synced:
            waiting.insert(0, "imagecollections and retrievers")
        return f"not listed yet: {', '.join(waiting)}"
