"""`Retriever`: a search endpoint over collections."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike_crds.base import Condition, SecretKeyRef, Spec, Status
from lookalike_crds.image_collection import ResourceList, StorageSpec
from lookalike_crds.names import FieldName, HostName, Name, ObjectName


class Fusion(StrEnum):
    """How scores of several collections become one list."""

    WEIGHTED = "Weighted"  # weight x score; right where the collections share a model
    RRF = "RRF"  # reciprocal rank fusion (Cormack et al. 2009, k = 60); right across models


class CollectionRef(Spec):
    """A collection that is searched."""

    name: Name = Field(description="Of an ImageCollection in the same namespace.")
    weight: float = Field(
        default=1.0, gt=0, le=100, description="Of its scores beside the others' when fused."
    )


_STAGE = "Diversity: relevant and unlike each other; Boost: more for a value of the metadata."


class DiversityStage(Spec):
    """Maximal marginal relevance (Carbonell & Goldstein 1998): relevance against sameness."""

    type: Literal["Diversity"] = Field(default="Diversity", description=_STAGE)
    trade_off: float = Field(
        default=0.7, ge=0, le=1, description="1: relevance alone; 0: difference alone."
    )


class BoostStage(Spec):
    """Adds `weight` to the score of documents whose `field` equals `value`."""

    type: Literal["Boost"] = Field(default="Boost", description=_STAGE)
    field: FieldName = Field(description="Boost: the metadata key.")
    value: str | int | float | bool = Field(description="Boost: what it is to equal.")
    weight: float = Field(ge=-10, le=10, description="Boost: added to the score; may be negative.")


Stage = Annotated[DiversityStage | BoostStage, Field(discriminator="type")]


class SearchSpec(Spec):
    """Defaults of every search; a request may say otherwise. Taken over without a restart."""

    top_k: int = Field(default=10, ge=1, le=1000, description="Results of one search.")
    min_score: float | None = Field(
        default=None, description="Results below are left out; higher scores are better."
    )
    fusion: Fusion = Field(
        default=Fusion.WEIGHTED,
        description="How several collections become one list. Weighted: by score, for those of one "
        "model; RRF: by rank, across models.",
    )
    stages: tuple[Stage, ...] = Field(
        default=(), max_length=16, description="Re-ranking, in this order."
    )


class Runtime(StrEnum):
    STANDALONE = "Standalone"  # a Deployment whose pods each run Ray Serve
    KUBE_RAY = "KubeRay"  # a RayService


class UpdateStrategy(StrEnum):
    SURGE = "Surge"  # the new replicas are ready before the old ones go
    RECREATE = "Recreate"  # the old ones go first: for GPUs that do not suffice for both


class AccessMode(StrEnum):
    READ_WRITE_MANY = "ReadWriteMany"  # pods on any nodes share the volume
    READ_WRITE_ONCE = "ReadWriteOnce"  # the volume is on one node, and so is its one pod


class ServingStorageSpec(StorageSpec):
    """A volume for what lies beside the index: uploaded images, batches, thumbnails, weights."""

    access_mode: AccessMode | None = Field(
        default=None,
        description="ReadWriteOnce with engine Edge, else ReadWriteMany, where unset.",
    )


class ServingSpec(Spec):
    """The pods that answer queries."""

    runtime: Runtime = Field(
        default=Runtime.STANDALONE, description="Standalone: a Deployment; KubeRay: a RayService."
    )
    image: str | None = Field(
        default=None,
        max_length=1024,
        description="Serving image; the operator's default where unset.",
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Serving replicas; autoscaling writes it where it is on.",
    )
    resources: ResourceList | None = Field(
        default=None, description="Of one replica, such as limits: {nvidia.com/gpu: 1}."
    )
    update_strategy: UpdateStrategy = Field(
        default=UpdateStrategy.SURGE,
        description="Surge: new pods are ready before old ones go. Recreate: old ones go first, "
        "where GPUs do not suffice for both.",
    )
    storage: ServingStorageSpec | None = Field(
        default=None,
        description="A volume for uploaded images; with engine Qdrant they are lost with their pod "
        "where unset, with engine Edge there is always one.",
    )
    pod_template: dict[str, Any] | None = Field(
        default=None, description="A PodTemplateSpec, merged into the serving pods."
    )
    ray_cluster: dict[str, Any] | None = Field(
        default=None, description="Runtime KubeRay: merged into the RayService's rayClusterConfig."
    )


class Preset(StrEnum):
    CONCURRENCY = "Concurrency"  # requests under way per replica
    LATENCY = "Latency"  # p95, milliseconds
    GPU_UTILIZATION = "GpuUtilization"  # percent


class Metric(Spec):
    """What a replica is to be kept at."""

    preset: Preset | None = Field(default=None, description="A ready-made query.")
    query: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="PromQL that gives one number; of series in the resource's namespace, unless "
        "the operator's settings say otherwise.",
    )
    target: float = Field(gt=0, le=1e9, description="The value one replica should see.")


class AutoscalingSpec(Spec):
    """Replicas from Prometheus metrics."""

    min_replicas: int = Field(default=1, ge=0, le=1000, description="Never fewer.")
    max_replicas: int = Field(default=4, ge=1, le=1000, description="Never more.")
    metrics: tuple[Metric, ...] = Field(
        min_length=1, max_length=8, description="The one that asks for most replicas decides."
    )
    scale_down_stabilization_seconds: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Down only to the highest number that was asked for in this time.",
    )
    idle_timeout_seconds: int | None = Field(
        default=None,
        ge=60,
        le=604_800,
        description="Without a request for so long, GPUs go to zero.",
    )


class IngressSpec(Spec):
    """An Ingress that leads to the endpoint."""

    host: HostName = Field(description="Such as search.example.com.")
    class_name: ObjectName | None = Field(
        default=None, description="IngressClass; the cluster's default where unset."
    )
    tls_secret_name: ObjectName | None = Field(
        default=None, description="Secret with the host's certificate; plain HTTP where unset."
    )


class HttpRouteSpec(Spec):
    """An HTTPRoute of the Gateway API that leads to the endpoint."""

    gateway: ObjectName = Field(description="Name of the Gateway to attach to.")
    gateway_namespace: Name | None = Field(
        default=None, description="Of the Gateway; the Retriever's own where unset."
    )
    hostnames: tuple[HostName, ...] = Field(
        default=(), max_length=16, description="All that the Gateway listens for where empty."
    )


class RateLimitSpec(Spec):
    """Above it callers get 429 with a Retry-After."""

    requests_per_second: float = Field(gt=0, le=1e6, description="For each API key.")


class AccessSpec(Spec):
    """Who may reach the endpoint, and how."""

    api_keys_secret_ref: SecretKeyRef | None = Field(
        default=None, description="A Secret's key that holds API keys, one a line."
    )
    ingress: IngressSpec | None = None
    http_route: HttpRouteSpec | None = None
    network_policy: bool = Field(
        default=False,
        description="True: only pods labelled lookalike.dev/client reach the service.",
    )
    rate_limit: RateLimitSpec | None = None


class RetrieverSpec(Spec):
    """A search endpoint over one or more collections."""

    collections: tuple[CollectionRef, ...] = Field(
        min_length=1, max_length=16, description="What is searched; several are fused."
    )
    search: SearchSpec = Field(default=SearchSpec(), description="Defaults of every search.")
    serving: ServingSpec = Field(
        default=ServingSpec(), description="The pods that answer queries, on a cluster."
    )
    autoscaling: AutoscalingSpec | None = Field(
        default=None, description="Replicas from metrics; serving.replicas where unset."
    )
    access: AccessSpec = Field(default=AccessSpec(), description="Who may reach the endpoint.")
    suspend: bool = Field(
        default=False, description="True: no serving pods until it is false again."
    )


class RetrieverStatus(Status):
    """What the operator last saw."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The generation of the spec that this status is about."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Ready, Available, Progressing, ScalingActive, Degraded, Stalled.",
    )
    url: str | None = Field(default=None, max_length=2048, description="Where to send queries.")
    replicas: int | None = Field(default=None, ge=0, description="Serving replicas that there are.")
    selector: str | None = Field(
        default=None, max_length=4096, description="Of their pods, for the scale subresource."
    )
    desired_replicas: int | None = Field(
        default=None, ge=0, description="Serving replicas that there are to be."
    )
    last_scale_reason: str | None = Field(
        default=None, max_length=1024, description="Why autoscaling wrote that number."
    )
