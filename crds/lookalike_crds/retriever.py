"""`Retriever`: a search endpoint over collections."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike_crds.base import Condition, FieldName, Name, SecretKeyRef, Spec, Status
from lookalike_crds.image_collection import ResourceList, StorageSpec


class Fusion(StrEnum):
    """How scores of several collections become one list."""

    WEIGHTED = "Weighted"  # weight x score; right where the collections share a model
    RRF = "RRF"  # reciprocal rank fusion (Cormack et al. 2009, k = 60); right across models


class CollectionRef(Spec):
    name: Name
    weight: float = Field(default=1.0, gt=0, le=100)


class DiversityStage(Spec):
    """Maximal marginal relevance (Carbonell & Goldstein 1998): relevance against sameness."""

    type: Literal["Diversity"] = "Diversity"
    trade_off: float = Field(
        default=0.7, ge=0, le=1, description="1: relevance alone; 0: difference alone."
    )


class BoostStage(Spec):
    """Adds `weight` to the score of documents whose `field` equals `value`."""

    type: Literal["Boost"] = "Boost"
    field: FieldName
    value: str | int | float | bool
    weight: float = Field(ge=-10, le=10)


Stage = Annotated[DiversityStage | BoostStage, Field(discriminator="type")]


class SearchSpec(Spec):
    top_k: int = Field(default=10, ge=1, le=1000)
    min_score: float | None = None
    fusion: Fusion = Fusion.WEIGHTED
    stages: tuple[Stage, ...] = Field(default=(), max_length=16)


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
    update_strategy: UpdateStrategy = Field(default=UpdateStrategy.SURGE)
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
        default=None, min_length=1, max_length=4096, description="PromQL that gives one number."
    )
    target: float = Field(gt=0, le=1e9, description="The value one replica should see.")


class AutoscalingSpec(Spec):
    """Replicas from Prometheus metrics."""

    min_replicas: int = Field(default=1, ge=0, le=1000)
    max_replicas: int = Field(default=4, ge=1, le=1000)
    metrics: tuple[Metric, ...] = Field(min_length=1, max_length=8)
    scale_down_stabilization_seconds: int = Field(default=300, ge=0, le=86_400)
    idle_timeout_seconds: int | None = Field(
        default=None,
        ge=60,
        le=604_800,
        description="Without a request for so long, GPUs go to zero.",
    )


class IngressSpec(Spec):
    host: str = Field(min_length=1, max_length=253)
    class_name: str | None = Field(default=None, max_length=253)
    tls_secret_name: Name | None = None


class HttpRouteSpec(Spec):
    gateway: Name = Field(description="Name of the Gateway to attach to.")
    gateway_namespace: Name | None = None
    hostnames: tuple[Annotated[str, Field(max_length=253)], ...] = Field(default=(), max_length=16)


class RateLimitSpec(Spec):
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

    observed_generation: int | None = Field(default=None, ge=0)
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Ready, Available, Progressing, ScalingActive, Degraded, Stalled.",
    )
    url: str | None = Field(default=None, max_length=2048, description="Where to send queries.")
    replicas: int | None = Field(default=None, ge=0)
    selector: str | None = Field(default=None, max_length=4096)
    desired_replicas: int | None = Field(default=None, ge=0)
    last_scale_reason: str | None = Field(default=None, max_length=1024)
