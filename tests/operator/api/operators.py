"""Operators for tests: one driven by hand, look by look, and a whole one in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from e2e.cluster.waiting import until
from fault_proxy import Call, FaultProxy

from lookalike_operator.apply.children import Children
from lookalike_operator.apply.events import EventWriter
from lookalike_operator.apply.execute import Executor
from lookalike_operator.cluster import Cluster, Timeouts
from lookalike_operator.engine.queue import SOON_SECONDS, Turn
from lookalike_operator.engine.workers import Verdict
from lookalike_operator.kinds import CHILDREN, LEASE, OURS, Kind
from lookalike_operator.main import run
from lookalike_operator.metrics import Metrics
from lookalike_operator.observe.memory import Memory
from lookalike_operator.observe.progress import Progresses
from lookalike_operator.observe.prometheus import Prometheus
from lookalike_operator.observe.qdrant import Qdrant
from lookalike_operator.observe.ray_schema import RaySchema
from lookalike_operator.observe.said import Explanations
from lookalike_operator.observe.scaling import samples
from lookalike_operator.observe.secrets import Secrets
from lookalike_operator.observe.snapshots import Observer
from lookalike_operator.observe.store import Store
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import Key, Manifest, Meta, RetrieverFacts, Settings
from lookalike_operator.plan.names import MANAGED_BY, OPERATOR
from lookalike_operator.plan.retriever import plan_retriever
from lookalike_operator.process import Operator
from lookalike_operator.reconcile import Planner, Reconciler
from lookalike_operator.settings import LeaseTimes, MarkTimes, OperatorSettings

SETTINGS = Settings(
    serving_image="registry.example/serving:1",
    # Where the stand-in for a Qdrant server listens.
    qdrant_addresses=("127.0.0.0/8",),
)
PLANNER = Planner(plan_collection, plan_retriever)
WATCHED = [kind for kind in CHILDREN if kind.watched and not kind.optional]


def rests(verdict: Verdict) -> bool:
    """Nothing failed, and nothing is to be looked at soon."""
    soon = verdict.again is not None and verdict.again <= SOON_SECONDS
    return not soon and verdict.failure is None


async def _no_retriever_report(meta: Meta) -> None:
    """Nor here."""


async def _no_report(meta: Meta, gateway: RetrieverFacts) -> None:
    """No serving pod runs here."""


class ByHand:
    """Lists instead of watches, one look at a time: nothing happens that the test did not do."""

    def __init__(
        self, cluster: Cluster, namespace: str, planner: Planner = PLANNER, token: str = "secret"
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.store = Store()
        self.memory = Memory()
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.passed = 0.0
        """Seconds by which the clock of what it remembers is ahead."""
        self.qdrant = Qdrant(timeout=2)
        # Asks anew each time: the next step by hand follows at once.
        explanations = Explanations(cluster, seconds=0)
        observer = Observer(
            store=self.store,
            memory=self.memory,
            settings=SETTINGS,
            secrets=Secrets(cluster),
            progress=Progresses().of,
            refused_pods=explanations.refused_pods,
            unprovisioned=explanations.unprovisioned,
            qdrant=self.qdrant,
            samples=lambda meta, spec: samples(Prometheus(None), meta, spec),
            apis=frozenset,
            ray_features=RaySchema(cluster).features,
            report=_no_report,
            retriever_report=_no_retriever_report,
            now=lambda: self.now(),
        )
        executor = Executor(
            cluster,
            self.store,
            Children(
                cluster,
                self.store,
                verify_secrets=600,
                token=lambda: token,
                clock=lambda: time.monotonic() + self.passed,
            ),
            EventWriter(cluster, "test"),
        )
        self.reconciler = Reconciler(observer, executor, self.memory, planner)

    async def refresh(self) -> None:
        """Take in the world as it is."""
        for kind in (*OURS, *WATCHED):
            labels = None if kind in OURS else f"{MANAGED_BY}={OPERATOR}"
            listing = await self.cluster.list(kind, self.namespace, labels=labels)
            self.store.relisted(
                kind.api_version,
                kind.kind,
                self.namespace,
                listing.items,
                int(listing.resource_version),
            )

    async def look(self, key: Key) -> Verdict:
        return await self.reconciler.look(Turn(key, ("test",), 0.0))

    async def settle(self, most: int = 20) -> None:
        """Look at everything until a round has nothing more to do at once."""
        for _ in range(most):
            await self.refresh()
            verdicts = [await self.look(key) for key in self.store.resources()]
            if all(rests(verdict) for verdict in verdicts):
                return
        raise AssertionError(f"does not settle: {verdicts}")

    def told(self) -> list[Manifest]:
        """What the cluster's own controllers have said of the children, as last taken in."""
        return [
            child.get("status") or {}
            for key in self.store.resources()
            for child in self.store.children(key)
        ]

    async def undisturbed(
        self, calls: Sequence[Call], act: Callable[[], Awaitable[None]]
    ) -> list[Call]:
        """The calls `act` made while nobody else changed anything.

        The cluster's own controllers tell of new children a moment later, and a status that follows
        is as it should be: then once more. A write of anything else is never excused.
        """
        for _ in range(20):
            await self.settle()
            await self.refresh()
            told, before = self.told(), len(calls)
            await act()
            made = list(calls[before:])
            await self.refresh()
            own = [call for call in made if call.writes and not call.path.endswith("/status")]
            if own or self.told() == told:
                return made
        raise AssertionError("the cluster does not come to rest")


class InThread:
    """A whole operator, kopf included, in a thread with a loop of its own, behind a proxy."""

    def __init__(
        self,
        proxy: FaultProxy,
        namespace: str,
        *,
        lease: LeaseTimes | None = None,
        identity: str = "one",
        resync: float = 600.0,
        timeouts: Timeouts | None = None,
        release: str | None = None,
        watches: tuple[str, ...] | None = None,
        marks: MarkTimes | None = None,
    ) -> None:
        """`release`: the namespace it is installed in, and `watches`: those it watches (none: all);
        both are `namespace` if not given."""
        self._proxy = proxy
        self._timeouts = timeouts
        self.identity = identity
        self.error: BaseException | None = None
        self.settings = OperatorSettings(
            plan=SETTINGS,
            namespaces=(namespace,) if watches is None else watches,
            metrics_host="127.0.0.1",
            metrics_port=0,
            leader_election=lease is not None,
            leader_election_namespace=release or namespace,
            lease=lease or LeaseTimes(),
            marks=marks or MarkTimes(),
            resync_seconds=resync,
            drain_seconds=5.0,
        )
        self.metrics = Metrics()
        self.operator: Operator | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Of metrics and probes. It listens soon after it has started."""
        assert self.operator is not None
        until(lambda: self.operator is not None and self.operator.port is not None, "its port", 60)
        return f"http://127.0.0.1:{self.operator.port}"

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    @property
    def working(self) -> bool:
        return self.operator is not None and self.operator.working

    def stop(self) -> None:
        """As SIGTERM does."""
        self._call(self._stop.set)
        self._thread.join(60)
        assert self.ended

    def kill(self) -> None:
        """At once: no drain, no release of the lease."""
        if self._loop is not None and not self.ended:
            self._call(self._die)
        self._thread.join(60)
        assert self.ended

    def _call(self, action: Callable[[], Any]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(action)

    def _die(self) -> None:
        raise SystemExit

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except (SystemExit, asyncio.CancelledError):
            pass
        except BaseException as error:
            self.error = error

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.operator = Operator(
            self.settings,
            self._proxy.cluster(self._timeouts, self.metrics.called),
            self.metrics,
            identity=self.identity,
            end=self._stop.set,
        )
        self._started.set()
        await run(self.operator, self._stop)


# -- what tests write and compare ------------------------------------------------------------------


def collection(namespace: str, name: str = "catalogue", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "ImageCollection",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"provider": "Demo"},
            "index": {"engine": "Edge", "storage": {"size": "1Gi"}},
            "sources": [{"name": "products", "volume": {"claimName": "images", "path": "x"}}],
            **spec,
        },
    }


def retriever(namespace: str, name: str = "search", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "Retriever",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"collections": [{"name": "catalogue"}], **spec},
    }


async def children_of(cluster: Cluster, namespace: str) -> dict[str, Manifest]:
    """`Kind/name` -> every child there is, pods left out: their names are random."""
    found: dict[str, Manifest] = {}
    for kind in WATCHED:
        if kind.kind == "Pod":
            continue
        listing = await cluster.list(kind, namespace, labels=f"{MANAGED_BY}={OPERATOR}")
        found.update((f"{kind.kind}/{o['metadata']['name']}", o) for o in listing.items)
    secrets = await cluster.list(
        next(k for k in CHILDREN if k.kind == "Secret"),
        namespace,
        labels=f"{MANAGED_BY}={OPERATOR}",
    )
    found.update((f"Secret/{o['metadata']['name']}", o) for o in secrets.items)
    return found


def essence(manifest: Manifest) -> Manifest:
    """What an object is, without what tells one making of it from another."""
    meta = manifest["metadata"]
    kept = {
        "name": meta["name"],
        "labels": meta.get("labels"),
        "annotations": {
            k: v
            for k, v in (meta.get("annotations") or {}).items()
            if not k.startswith(("deployment.kubernetes.io/", "pv.kubernetes.io/"))
        },
        "owners": [o["name"] for o in meta.get("ownerReferences") or ()],
    }
    spec = dict(manifest.get("spec") or {})
    for volatile in ("clusterIP", "clusterIPs", "volumeName"):
        spec.pop(volatile, None)
    return {"kind": manifest["kind"], "metadata": kept, "spec": spec, "data": manifest.get("data")}


def kind_named(name: str) -> Kind:
    return next(kind for kind in (*OURS, *CHILDREN, LEASE) if kind.kind == name)
