"""What planning reads and what it returns: frozen data without side effects.

    observe/ -> CollectionSnapshot | RetrieverSnapshot -> plan/ -> Plan -> apply/

A snapshot is everything that is known at one moment, including the time, so that the same snapshot
always gives the same plan. Live objects stay the mappings that the API server sent (without
`managedFields`): builders create mappings, and the two are compared key by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from lookalike_crds.collection_report import CollectionReport
from lookalike_crds.image_collection import (
    ImageCollectionSpec,
    ImageCollectionStatus,
)
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.progress import WorkerProgress
from lookalike_crds.retriever import RetrieverSpec, RetrieverStatus
from lookalike_crds.retriever_report import RetrieverReport

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON: never changed in place."""

QDRANT_UNAVAILABLE = "QdrantUnavailable"
"""The reason of a condition if the operator itself cannot reach the server of an index.

`IndexUnreachable`, of the table of failures, is what an ingestion run reports: its pods reach a
server from another place in the network, so either can hold without the other.
"""


class ObjectRef(NamedTuple):
    """Which object: enough to get or delete it."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


class Key(NamedTuple):
    """Which of our resources a reconcile is about."""

    kind: Literal["ImageCollection", "Retriever"]
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


def ref_of(manifest: Manifest) -> ObjectRef:
    meta = manifest["metadata"]
    return ObjectRef(
        manifest["apiVersion"], manifest["kind"], meta.get("namespace", ""), meta["name"]
    )


class Written(NamedTuple):
    """Fields of an object that one manager has written."""

    manager: str
    paths: tuple[tuple[str, ...], ...]
    """Each from the root on, in the steps of `fieldsV1`."""


class Trouble(NamedTuple):
    """What went wrong while a plan was made or carried out."""

    reason: str
    """CamelCase, as conditions have it."""
    message: str


# -- what is known ---------------------------------------------------------------------------------


class PodPolicy(StrEnum):
    """What `podTemplate` and `rayCluster` may ask for."""

    RESTRICTED = "restricted"
    """What the pod security standard of that name allows, and no other ServiceAccount."""
    UNRESTRICTED = "unrestricted"


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's own configuration, as far as plans depend on it."""

    serving_image: str
    """Where `serving.image` is unset; ingestion runs it, too."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    cluster_domain: str = "cluster.local"
    qdrant_addresses: tuple[str, ...] = ()
    """Hosts, `*.domain`s, addresses and CIDRs beside Services of a collection's own namespace."""
    ray_version: str = "2.60.0"
    """Of the serving image: KubeRay wants to be told."""
    pod_policy: PodPolicy = PodPolicy.RESTRICTED
    ray_network_policy: bool = True
    """Every Ray cluster gets a NetworkPolicy: dashboard, GCS and client port are for it alone."""
    kuberay_namespace: str | None = None
    """Where KubeRay's operator runs: it is let through that NetworkPolicy."""
    cluster_id: str = ""
    """Distinguishes this cluster from others that use the same Qdrant server; empty: unknown."""


@dataclass(frozen=True, slots=True)
class Meta:
    """The parts of our resource's ObjectMeta that matter here."""

    namespace: str
    name: str
    uid: str
    generation: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    deleting: bool = False
    created: datetime | None = None
    deletion_started: datetime | None = None
    """metadata.deletionTimestamp: how long external data has been waited for."""

    @property
    def age(self) -> tuple[float, str]:
        """To sort by, the oldest first; of one second, by name. Unknown: the youngest."""
        return (self.created.timestamp() if self.created else float("inf"), self.name)


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What a Qdrant server reports of one collection's index. If `error` is set, nothing else is
    known."""

    name: str
    error: str | None = None
    """Why it could not be read, in one line: unreachable, slow, key refused."""
    reason: str = QDRANT_UNAVAILABLE
    """The reason of the condition, if there is an error."""
    exists: bool = False
    version: str | None = None
    """The server's; that of its oldest node if it has several addresses."""
    away: tuple[str, ...] = ()
    """Addresses of the server that do not answer, while another does."""
    points: int | None = None
    only_here: int | None = None
    """Points that no source of the spec brought: uploads, and of sources that are gone. Asked only
    while another model is to take over."""
    payload_indexes: Mapping[str, str] = field(default_factory=dict)
    """Field -> Qdrant schema type (keyword, integer, float, bool, datetime, geo, text)."""
    retyped: tuple[str, ...] = ()
    """Of each field whose type was changed over documents with values of before: what to do."""
    made_for: Mapping[str, Any] = field(default_factory=dict)
    """The collection's own `lookalike` metadata: dimension, distance, fingerprint, settings."""
    owner: IndexOwner | None = None
    """Whose it says it is; None if it says nothing, as those of early releases."""
    alias_target: str | None = None
    """Index that the collection's alias points at now."""
    alias_owner: IndexOwner | None = None
    """Whose that one is."""


@dataclass(frozen=True, slots=True)
class RetrieverFacts:
    """A Retriever of the same namespace, as a collection or a rival sees it."""

    meta: Meta
    spec: RetrieverSpec
    available: bool
    """Its condition Available is True."""
    trouble: Trouble | None = None
    """Why it is stalled, by its own status."""
    downloading: str | None = None
    """How much of the weights has arrived that its pods wait for, by its own status."""


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """An ImageCollection that a Retriever names."""

    meta: Meta
    spec: ImageCollectionSpec
    status: ImageCollectionStatus


@dataclass(frozen=True, slots=True)
class InvalidCollection:
    """An ImageCollection that a Retriever names and whose spec cannot be read."""

    name: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deletion:
    """How long deleting a collection's index has been held up, according to earlier reconciles."""

    stopping_since: datetime | None = None
    """Its ingestion pods have been ending since then."""
    failing_since: datetime | None = None
    """Every attempt to delete the index has failed since then."""


@dataclass(frozen=True, slots=True)
class CollectionSnapshot:
    now: datetime
    settings: Settings
    meta: Meta
    spec: ImageCollectionSpec | None
    """None if the stored spec does not validate; `problems` says why."""
    problems: tuple[str, ...] = ()
    """`path: message`, one for each thing wrong with the spec."""
    status: ImageCollectionStatus = field(default_factory=ImageCollectionStatus)
    children: tuple[Manifest, ...] = ()
    """Everything labelled as this resource's: Jobs, CronJobs, ConfigMaps, claims, …"""
    written_by_others: Mapping[ObjectRef, tuple[Written, ...]] = field(default_factory=dict)
    """Of those children into which others have written: what."""
    pods: tuple[Manifest, ...] = ()
    """Pods of its Jobs."""
    progress: Mapping[str, WorkerProgress] = field(default_factory=dict)
    """Ingestion pod that runs and answers -> how far it is."""
    report: CollectionReport = field(default_factory=CollectionReport)
    """Of a serving pod; empty if none answered."""
    refused_pods: Mapping[str, str] = field(default_factory=dict)
    """Job that has none -> why the API server takes none."""
    unprovisioned: Mapping[str, str] = field(default_factory=dict)
    """Claim that has no volume -> what its provisioner said last."""
    retrievers: tuple[RetrieverFacts, ...] = ()
    """Those of the namespace that search this collection, oldest first."""
    index: IndexFacts | None = None
    """Engine Qdrant: what the server says of `plan.indexes.observed_index(snapshot)`; None with
    engine Edge."""
    foreign: tuple[ObjectRef, ...] = ()
    """Objects that have the name of a child and are not ours, as the last apply met them."""
    refused: tuple[tuple[ObjectRef, str], ...] = ()
    """Objects that the API server refused at the last apply, and what it said."""
    trouble: Trouble | None = None
    """What else went wrong at the last reconcile, and is tried again."""
    deletion: Deletion = Deletion()
    scheduled_since: Mapping[str, datetime] = field(default_factory=dict)
    """Source -> when its schedule was set, of those that were set since the operator runs."""
    missing_secrets: tuple[str, ...] = ()
    """Named Secrets (`name/key` or `name`) that are not there."""
    apis: frozenset[str] = frozenset()
    """`group/version/Kind` of optional APIs that the cluster serves."""

    def child(self, kind: str, name: str) -> Manifest | None:
        return _child(self.children, kind, name)


@dataclass(frozen=True, slots=True)
class Sample:
    """One autoscaling metric as Prometheus answered."""

    value: float | None
    """None: no data, or no answer."""
    error: str | None = None
    """Why there is no value, in one line."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What scaling wanted at some moment; the recent ones make the stabilisation window."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class RetrieverSnapshot:
    now: datetime
    settings: Settings
    meta: Meta
    spec: RetrieverSpec | None
    problems: tuple[str, ...] = ()
    status: RetrieverStatus = field(default_factory=RetrieverStatus)
    children: tuple[Manifest, ...] = ()
    """Deployment, Service, ConfigMap, RayService, claims, …, and its ReplicaSets are not among
    them: pods tell what ReplicaSets would."""
    written_by_others: Mapping[ObjectRef, tuple[Written, ...]] = field(default_factory=dict)
    pods: tuple[Manifest, ...] = ()
    collections: tuple[CollectionFacts, ...] = ()
    """The named collections that exist; a missing one is absent."""
    invalid_collections: tuple[InvalidCollection, ...] = ()
    """Those that exist, and whose spec does not validate."""
    rivals: tuple[RetrieverFacts, ...] = ()
    """Other Retrievers of the namespace that name one of the same collections, oldest first."""
    missing_secrets: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    """One for each of spec.autoscaling.metrics, in order; empty if Prometheus was not asked."""
    idle_seconds: float | None = None
    """Since the last request, where idleTimeoutSeconds is set and Prometheus knows."""
    recommendations: tuple[Recommendation, ...] = ()
    """Oldest first."""
    foreign: tuple[ObjectRef, ...] = ()
    refused: tuple[tuple[ObjectRef, str], ...] = ()
    trouble: Trouble | None = None
    """As in CollectionSnapshot."""
    apis: frozenset[str] = frozenset()
    report: RetrieverReport | None = None
    """Of its own pods; None if none answers."""
    progress: Mapping[str, WorkerProgress] = field(default_factory=dict)
    """Of its pods that start and answer, by name."""

    def child(self, kind: str, name: str) -> Manifest | None:
        return _child(self.children, kind, name)


def _child(children: tuple[Manifest, ...], kind: str, name: str) -> Manifest | None:
    for child in children:
        if child["kind"] == kind and child["metadata"]["name"] == name:
            return child
    return None


# -- what is to be done ----------------------------------------------------------------------------


class IndexAction(StrEnum):
    ENSURE_PAYLOAD_INDEX = "EnsurePayloadIndex"
    POINT_ALIAS = "PointAlias"
    DELETE = "Delete"


@dataclass(frozen=True, slots=True)
class IndexOp:
    """One call to the Qdrant server of a collection. Each can be repeated safely."""

    action: IndexAction
    index: str
    argument: tuple[str, ...] = ()
    """ENSURE_PAYLOAD_INDEX: (field, schema type); POINT_ALIAS: (alias,)."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event on our resource. Written when it is new: the same one is not repeated at rest."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one reconcile does, in the order of the fields."""

    add_finalizer: bool = False
    hands_off: bool = False
    """No child is applied, created or deleted: all stay as they are. The rest of the plan
    applies."""
    objects: tuple[Manifest, ...] = ()
    """Applied server-side, in this order, where the live object differs."""
    once: tuple[Manifest, ...] = ()
    """Created where absent and never changed: Jobs (immutable), Secrets with generated content.
    Each goes through `plan.secrets.filled` on its way: chance has no place in a plan."""
    doubtful: bool = False
    """Pods wait as if a Secret of `once` were gone: no watch would tell."""
    keep: tuple[ObjectRef, ...] = ()
    """Live children that are in neither and stay, such as a Job that still runs."""
    index_ops: tuple[IndexOp, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    """The whole new status; written if it differs from the stored one. Empty: it stays as it is."""
    remove_finalizer: bool = False
    """Only if every one of `index_ops` succeeded."""
    giving_up: str | None = None
    """The finalizer goes even where one of `index_ops` fails: what the event then says, to which
    the failure is added."""
    deletion: Deletion | None = None
    """Remembered for the next reconcile of a collection that is being deleted."""
    events: tuple[Event, ...] = ()
    recommendation: Recommendation | None = None
    """To be remembered for the next snapshots."""
    requeue_after: float | None = None
    """Seconds; None: nothing is due until something changes."""

    # Children that are live, labelled as ours, owned by the resource, and in none of `objects`,
    # `once`, `keep` are deleted. Objects of kinds that hold data (PersistentVolumeClaim) too:
    # a plan that means to retain one keeps it.
