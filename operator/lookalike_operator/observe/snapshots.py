"""Everything that is known about one resource at one moment, as planning reads it.

The state of Kubernetes comes from the store and costs nothing. Named Secrets, Qdrant and Prometheus
are only queried for resources that need them, within time limits, and their answers are cached for
seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from lookalike_crds.collection_report import CollectionReport
from lookalike_crds.image_collection import Engine, ImageCollectionSpec, IngestionRuntime
from lookalike_crds.progress import WorkerProgress
from lookalike_crds.retriever import RetrieverSpec, Runtime
from lookalike_crds.retriever_report import RetrieverReport
from lookalike_operator.kinds import RAY_SERVICE
from lookalike_operator.observe.memory import Memory
from lookalike_operator.observe.qdrant import Qdrant, Server
from lookalike_operator.observe.resources import (
    Specs,
    collection_status,
    meta_of,
    parsed_collection,
    parsed_retriever,
    retriever_status,
)
from lookalike_operator.observe.secrets import SecretKey, Secrets
from lookalike_operator.observe.store import Store
from lookalike_operator.plan.addresses import address_problem, asked_urls
from lookalike_operator.plan.causes import DOWNLOADING, is_starting
from lookalike_operator.plan.indexes import alias_of, effective, index_of, observed_index
from lookalike_operator.plan.model import (
    CollectionFacts,
    CollectionSnapshot,
    IndexFacts,
    InvalidCollection,
    Key,
    Manifest,
    Meta,
    ObjectRef,
    RetrieverFacts,
    RetrieverSnapshot,
    Sample,
    Settings,
    Trouble,
    Written,
    ref_of,
)
from lookalike_operator.plan.runs import gateway_of
from lookalike_operator.plan.waiting import missing_secrets

Samples = Callable[[Meta, RetrieverSpec], Awaitable[tuple[tuple[Sample, ...], float | None]]]
"""(one for each autoscaling metric, seconds idle), both empty if nothing scales."""
Said = Callable[[Iterable[Manifest]], Awaitable[Mapping[str, str]]]
"""Of children: name of each that does not get on -> what an event says of it."""


@dataclass(frozen=True, slots=True)
class Observer:
    store: Store
    memory: Memory
    settings: Settings
    secrets: Secrets
    qdrant: Qdrant
    samples: Samples
    progress: Callable[[Iterable[Manifest]], Awaitable[Mapping[str, WorkerProgress]]]
    """Of pods: those that run and answer."""
    report: Callable[[Meta, RetrieverFacts], Awaitable[CollectionReport | None]]
    """Of a collection, by the pods of a Retriever."""
    retriever_report: Callable[[Meta], Awaitable[RetrieverReport | None]]
    """Of a Retriever, by its own pods."""
    refused_pods: Said
    unprovisioned: Callable[[Iterable[Manifest], datetime], Awaitable[Mapping[str, str]]]
    """As `Said`, as of a moment."""
    apis: Callable[[], frozenset[str]]
    ray_features: Callable[[], Awaitable[frozenset[str]]]
    """What the installed KubeRay can do; asked if there is one, for those that need it."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    collections: Specs[ImageCollectionSpec] = field(
        default_factory=lambda: Specs(parsed_collection)
    )
    retrievers: Specs[RetrieverSpec] = field(default_factory=lambda: Specs(parsed_retriever))

    # -- collections -------------------------------------------------------------------------------

    async def collection(self, key: Key, live: Manifest) -> CollectionSnapshot:
        """`live`: the collection itself, as the store has it."""
        meta = meta_of(live)
        spec, problems = self.collections.of(live)
        children, pods, written = self._children(key)
        remembered = self.memory.of(key)
        snapshot = CollectionSnapshot(
            now=self.now(),
            settings=self.settings,
            meta=meta,
            spec=spec,
            problems=problems,
            status=collection_status(live),
            children=children,
            written_by_others=written,
            pods=pods,
            retrievers=self._retrievers(self.store.searching(key)),
            foreign=remembered.foreign,
            refused=remembered.refused,
            trouble=remembered.trouble,
            deletion=remembered.deletion,
            apis=self.apis(),
        )
        if spec is None:
            return snapshot
        on_ray = spec.ingestion.runtime is IngestionRuntime.RAY
        schedules = {each.name: each.schedule for each in spec.sources if each.schedule is not None}
        return replace(
            snapshot,
            scheduled_since=remembered.schedules.see(schedules, snapshot.now),
            apis=await self._ray_apis(snapshot.apis) if on_ray else snapshot.apis,
            missing_secrets=await self.secrets.missing(_secrets_of(meta, spec)),
            progress=await self.progress(pods),
            report=await self._report(snapshot),
            refused_pods=await self.refused_pods(children),
            unprovisioned=await self.unprovisioned(children, snapshot.now),
            index=await self._index(snapshot, spec),
        )

    async def server(self, meta: Meta, spec: ImageCollectionSpec) -> Server | None:
        """The Qdrant server of a collection, with its key; None if it may not be asked."""
        urls = asked_urls(meta, spec, self.settings)
        if not urls or address_problem(meta, spec, self.settings) is not None:
            return None
        key, ca = _api_key(meta, spec), _ca(meta, spec)
        return Server(
            urls,
            api_key=None if key is None else await self.secrets.value(key),
            ca=None if ca is None else await self.secrets.value(ca),
        )

    async def _report(self, snapshot: CollectionSnapshot) -> CollectionReport:
        gateway = gateway_of(snapshot)
        if gateway is None or not gateway.available:
            return CollectionReport()
        return await self.report(snapshot.meta, gateway) or CollectionReport()

    async def _index(
        self, snapshot: CollectionSnapshot, spec: ImageCollectionSpec
    ) -> IndexFacts | None:
        name = observed_index(snapshot)
        if name is None:
            return None
        if (problem := address_problem(snapshot.meta, spec, self.settings)) is not None:
            return IndexFacts(name, error=problem.message, reason=problem.reason)
        missing = await self.secrets.missing(_index_secrets(snapshot.meta, spec))
        if missing:
            # Without its key the server would refuse us, and say something else.
            cause = missing_secrets(missing)
            return IndexFacts(name, error=cause.message, reason=cause.reason)
        server = await self.server(snapshot.meta, spec)
        if server is None:
            return IndexFacts(
                name, error="spec.index.qdrant names no server: set url, urls or serviceRef"
            )
        sources = tuple(source.name for source in spec.sources)
        wanted = effective(snapshot.meta, spec, snapshot.status)
        changes = index_of(snapshot, wanted) != name
        return await self.qdrant.facts(
            server,
            name,
            alias_of(snapshot.meta),
            fields=spec.fields,
            besides=sources if changes else None,
        )

    # -- retrievers --------------------------------------------------------------------------------

    async def retriever(self, key: Key, live: Manifest) -> RetrieverSnapshot:
        """`live`: the Retriever itself, as the store has it."""
        meta = meta_of(live)
        spec, problems = self.retrievers.of(live)
        children, pods, written = self._children(key)
        remembered = self.memory.of(key)
        known = self.store.known_resource(key)
        named = known.searches if known is not None else ()
        collections, invalid = self._collections(named)
        rivals = {each for name in named for each in self.store.searching(name)} - {key}
        snapshot = RetrieverSnapshot(
            now=self.now(),
            settings=self.settings,
            meta=meta,
            spec=spec,
            problems=problems,
            status=retriever_status(live),
            children=children,
            written_by_others=written,
            pods=pods,
            collections=collections,
            invalid_collections=invalid,
            rivals=self._retrievers(sorted(rivals)),
            recommendations=remembered.recommendations,
            foreign=remembered.foreign,
            refused=remembered.refused,
            trouble=remembered.trouble,
            apis=self.apis(),
        )
        if spec is None:
            return snapshot
        samples, idle = await self.samples(meta, spec)
        on_ray = spec.serving.runtime is Runtime.KUBE_RAY
        return replace(
            snapshot,
            missing_secrets=await self.secrets.missing(_secrets_for(meta, spec, collections)),
            report=await self._retriever_report(snapshot),
            progress=await self.progress(filter(is_starting, pods)),
            samples=samples,
            idle_seconds=idle,
            apis=await self._ray_apis(snapshot.apis) if on_ray else snapshot.apis,
        )

    async def _retriever_report(self, snapshot: RetrieverSnapshot) -> RetrieverReport | None:
        conditions = snapshot.status.conditions
        if not any(c.type == "Available" and c.status == "True" for c in conditions):
            return None
        return await self.retriever_report(snapshot.meta)

    # -- both --------------------------------------------------------------------------------------

    async def _ray_apis(self, apis: frozenset[str]) -> frozenset[str]:
        """With what the installed KubeRay can do, if there is one."""
        return apis | await self.ray_features() if RAY_SERVICE.api in apis else apis

    def _children(self, key: Key) -> tuple[
        tuple[Manifest, ...], tuple[Manifest, ...], dict[ObjectRef, tuple[Written, ...]]
    ]:  # fmt: skip
        """(children, pods, what others have written into the children)"""
        children, pods = [], []
        written: dict[ObjectRef, tuple[Written, ...]] = {}
        for each in self.store.children(key):
            if each["kind"] == "Pod":
                pods.append(each)
                continue
            children.append(each)
            if others := self.store.others(ref := ref_of(each)):
                written[ref] = others
        return tuple(children), tuple(pods), written

    def _retrievers(self, keys: list[Key]) -> tuple[RetrieverFacts, ...]:
        """Those whose spec is valid, oldest first."""
        found = []
        for key in keys:
            live = self.store.resource(key)
            spec = None if live is None else self.retrievers.of(live)[0]
            if live is None or spec is None:
                continue
            conditions = retriever_status(live).conditions
            answers = next((c for c in conditions if c.type == "Available"), None)
            available = answers is not None and answers.status == "True"
            fetching = answers is not None and answers.reason == DOWNLOADING
            stalled = next((c for c in conditions if c.type == "Stalled"), None)
            trouble = None
            if stalled is not None and stalled.status == "True":
                trouble = Trouble(stalled.reason, stalled.message)
            downloading = answers.message if answers is not None and fetching else None
            found.append(RetrieverFacts(meta_of(live), spec, available, trouble, downloading))
        return tuple(sorted(found, key=lambda facts: facts.meta.age))

    def _collections(
        self, keys: tuple[Key, ...]
    ) -> tuple[tuple[CollectionFacts, ...], tuple[InvalidCollection, ...]]:
        """(those whose spec is valid, the others that are there)"""
        found, invalid = [], []
        for key in dict.fromkeys(keys):
            live = self.store.resource(key)
            if live is None:
                continue
            spec, problems = self.collections.of(live)
            if spec is None:
                invalid.append(InvalidCollection(key.name, problems))
            else:
                found.append(CollectionFacts(meta_of(live), spec, collection_status(live)))
        return tuple(found), tuple(invalid)


def _secrets_of(meta: Meta, spec: ImageCollectionSpec) -> list[SecretKey]:
    named = _index_secrets(meta, spec)
    for source in spec.sources:
        named += [SecretKey(meta.namespace, name) for name in source.kind.secrets]
    return named


def _secrets_for(
    meta: Meta, spec: RetrieverSpec, collections: tuple[CollectionFacts, ...]
) -> list[SecretKey]:
    named = []
    if (keys := spec.access.api_keys_secret_ref) is not None:
        named.append(SecretKey(meta.namespace, keys.name, keys.key))
    for collection in collections:
        named += _index_secrets(collection.meta, collection.spec)
    return named


def _index_secrets(meta: Meta, spec: ImageCollectionSpec) -> list[SecretKey]:
    if spec.index.engine is Engine.EDGE:
        return []
    return [each for each in (_api_key(meta, spec), _ca(meta, spec)) if each is not None]


def _api_key(meta: Meta, spec: ImageCollectionSpec) -> SecretKey | None:
    named = spec.index.qdrant.api_key_secret_ref if spec.index.qdrant else None
    return None if named is None else SecretKey(meta.namespace, named.name, named.key)


def _ca(meta: Meta, spec: ImageCollectionSpec) -> SecretKey | None:
    """The Secret or ConfigMap that holds the authorities of the Qdrant server's certificate."""
    ca = spec.index.qdrant.ca if spec.index.qdrant else None
    if ca is None:
        return None
    if (in_map := ca.config_map_ref) is not None:
        return SecretKey(meta.namespace, in_map.name, in_map.key, in_config_map=True)
    in_secret = ca.secret_ref
    return None if in_secret is None else SecretKey(meta.namespace, in_secret.name, in_secret.key)
