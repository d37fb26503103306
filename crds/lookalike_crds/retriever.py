"""`Retriever`: a search endpoint over collections."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from lookalike_crds.base import Condition, SecretKeyRef, Spec, Status
from lookalike_crds.image_collection import ResourceList, StorageSpec
from lookalike_crds.min_score import MinScore
from lookalike_crds.names import HostName, Name, ObjectName
from lookalike_crds.stages import Stage


class Fusion(StrEnum):
    """How scores of several collections become one list."""

    WEIGHTED = "Weighted"  # weight x score; right where the collections share a model
    RRF = "RRF"  # reciprocal rank fusion (Cormack et al. 2009, k = 60); right across models


class CollectionRef(Spec):
    """A collection that is searched."""

    name: Name = Field(description="The name of an ImageCollection in the same namespace.")
    weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="How much this collection's scores count when several are fused.",
    )


class SearchSpec(Spec):
    """Defaults of every search; a request may say otherwise. Taken over without a restart."""

    top_k: int = Field(default=10, ge=1, le=1000, description="How many results a search returns.")
    min_score: MinScore | None = Field(
        default=None,
        description="Results with a lower score are left out. A higher score is better. A number, "
        "or auto: the threshold for the kind of query that `lookalike calibrate --save` found. "
        "Without one, no result is left out, and answers have a warning.",
    )
    fusion: Fusion = Field(
        default=Fusion.WEIGHTED,
        description="How the results of several collections are fused. Weighted: by score, for "
        "collections with the same model. RRF (reciprocal rank fusion): by rank, across"
        " models.",
    )
    stages: tuple[Stage, ...] = Field(
        default=(),
        max_length=16,
        description="The re-ranking stages, in the order in which they run.",
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
    """A volume for everything except the index: uploaded images, batches, thumbnails, weights."""

    access_mode: AccessMode | None = Field(
        default=None,
        description="The volume's access mode. If it is unset: ReadWriteOnce with engine Edge, and "
        "ReadWriteMany otherwise.",
    )


class ServingSpec(Spec):
    """The pods that answer queries."""

    runtime: Runtime = Field(
        default=Runtime.STANDALONE,
        description="What runs the serving pods. Standalone: a Deployment. KubeRay: a RayService.",
    )
    image: str | None = Field(
        default=None,
        max_length=1024,
        description="The serving image; the operator's default if unset.",
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="The number of serving replicas. Ignored if autoscaling is set.",
    )
    resources: ResourceList | None = Field(
        default=None,
        description="The resources of one replica, such as limits: {nvidia.com/gpu: 1}.",
    )
    update_strategy: UpdateStrategy = Field(
        default=UpdateStrategy.SURGE,
        description="How pods are replaced. Surge: new pods are ready before old ones are stopped. "
        "Recreate: old pods are stopped first, for clusters without enough GPUs for "
        "both.",
    )
    storage: ServingStorageSpec | None = Field(
        default=None,
        description="A volume for uploaded images. With engine Qdrant, uploaded images are lost "
        "with their pod if it is unset; with engine Edge there is always a volume.",
    )
    pod_template: dict[str, Any] | None = Field(
        default=None, description="A PodTemplateSpec that is merged into the serving pods."
    )
    ray_cluster: dict[str, Any] | None = Field(
        default=None,
        description="With runtime KubeRay: fields that are merged into the RayService's "
        "rayClusterConfig.",
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
        description="A PromQL query that yields one number. It may only select series of the "
        "resource's namespace, unless the operator's settings allow more.",
    )
    target: float = Field(gt=0, le=1e9, description="The value that each replica should see.")


class AutoscalingSpec(Spec):
    """Replicas from Prometheus metrics."""

    min_replicas: int = Field(
        default=1, ge=0, le=1000, description="The smallest number of replicas."
    )
    max_replicas: int = Field(
        default=4, ge=1, le=1000, description="The largest number of replicas."
    )
    metrics: tuple[Metric, ...] = Field(
        min_length=1,
        max_length=8,
        description="The metrics to scale by. The one that asks for the most replicas decides.",
    )
    scale_down_stabilization_seconds: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Replicas are only reduced to the highest number that was asked for within this"
        " time.",
    )
    idle_timeout_seconds: int | None = Field(
        default=None,
        ge=60,
        le=604_800,
        description="With runtime KubeRay: if no request arrives for this long, serving is scaled "
        "to zero, which frees its GPUs.",
    )


class IngressSpec(Spec):
    """An Ingress for the endpoint."""

    host: HostName = Field(description="The host name, such as search.example.com.")
    class_name: ObjectName | None = Field(
        default=None, description="The IngressClass; the cluster's default if unset."
    )
    tls_secret_name: ObjectName | None = Field(
        default=None,
        description="The Secret that holds the host's certificate. If it is unset, the endpoint is "
        "served over plain HTTP.",
    )


class HttpRouteSpec(Spec):
    """An HTTPRoute of the Gateway API for the endpoint."""

    gateway: ObjectName = Field(description="The name of the Gateway to attach to.")
    gateway_namespace: Name | None = Field(
        default=None, description="The Gateway's namespace; the Retriever's own if unset."
    )
    hostnames: tuple[HostName, ...] = Field(
        default=(),
        max_length=16,
        description="The route's host names. If it is empty: all that the Gateway listens for.",
    )


class RateLimitSpec(Spec):
    """Callers that exceed the limit get status 429 with a Retry-After header."""

    requests_per_second: float = Field(
        gt=0, le=1e6, description="The number of requests per second for each API key."
    )


class AccessSpec(Spec):
    """Who may reach the endpoint, and how."""

    api_keys_secret_ref: SecretKeyRef | None = Field(
        default=None, description="The key of a Secret that holds the API keys, one per line."
    )
    ingress: IngressSpec | None = None
    http_route: HttpRouteSpec | None = None
    network_policy: bool = Field(
        default=False,
        description="If true, only pods with the label lookalike.dev/client can reach the service.",
    )
    rate_limit: RateLimitSpec | None = None


class RetrieverSpec(Spec):
    """A search endpoint over one or more collections."""

    collections: tuple[CollectionRef, ...] = Field(
        min_length=1,
        max_length=16,
        description="The collections to search. The results of several are fused into one list.",
    )
    search: SearchSpec = Field(default=SearchSpec(), description="The defaults of every search.")
    serving: ServingSpec = Field(
        default=ServingSpec(), description="The pods that answer queries, on a cluster."
    )
    autoscaling: AutoscalingSpec | None = Field(
        default=None,
        description="Scales replicas by metrics. If it is unset, serving.replicas is used.",
    )
    access: AccessSpec = Field(default=AccessSpec(), description="Who may reach the endpoint.")
    suspend: bool = Field(
        default=False, description="If true, no serving pods run until it is false again."
    )


class CalibratedStatus(Status):
    """The threshold of one kind of query. Shares are 0 to 1."""

    queries: str = Field(
        max_length=16,
        description="text, image (also stored documents and vectors), or both: text together with "
        "any of these.",
    )
    min_score: float = Field(description="What `min_score: auto` stands for.")
    precision: float = Field(
        ge=0, le=1, description="The share of relevant results that was measured with it."
    )
    low: float = Field(ge=0, le=1, description="The lower bound of its 95 % confidence interval.")
    high: float = Field(ge=0, le=1, description="The upper bound of its 95 % confidence interval.")
    count: int = Field(ge=1, description="The number of queries that it was measured with.")

    @property
    def in_words(self) -> str:
        return (
            f"{self.queries} {self.min_score:.4g} (precision {self.precision:.2f}, 95 % interval "
            f"{self.low:.2f} to {self.high:.2f}, {self.count:,} queries)"
        )


class CalibrationStatus(Status):
    """What `lookalike calibrate --save` has measured for `min_score: auto`."""

    holds: bool = Field(
        description="Whether `min_score: auto` uses it: what the scores follow from is as it was."
    )
    changed: tuple[Annotated[str, Field(max_length=256)], ...] = Field(
        default=(),
        max_length=32,
        description="What has changed since, such as the model of a collection. If there is "
        "anything, calibrate again.",
    )
    made_at: str = Field(max_length=64, description="RFC 3339: when it was stored.")
    basis: str = Field(max_length=256, description="What was taken as relevant, in words.")
    thresholds: tuple[CalibratedStatus, ...] = Field(
        max_length=3, description="The thresholds, one for each kind of query that was measured."
    )

    @property
    def in_words(self) -> str:
        if self.holds:
            told = "; ".join(each.in_words for each in self.thresholds)
            return f"calibrated at {self.made_at}: {told}"
        return (
            f"calibrated at {self.made_at}, and not used any more, since this has changed: "
            f"{', '.join(self.changed)}. Calibrate again: `lookalike calibrate --save`"
        )


class RetrieverStatus(Status):
    """What the operator last saw."""

    observed_generation: int | None = Field(
        default=None,
        ge=0,
        description="The generation of the spec that this status was observed for.",
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Ready, Available, Progressing, ScalingActive, Degraded, Stalled.",
    )
    url: str | None = Field(default=None, max_length=2048, description="Where to send queries.")
    replicas: int | None = Field(
        default=None, ge=0, description="The number of serving replicas that exist."
    )
    selector: str | None = Field(
        default=None,
        max_length=4096,
        description="The label selector of the serving pods, for the scale subresource.",
    )
    desired_replicas: int | None = Field(
        default=None, ge=0, description="The number of serving replicas that are wanted."
    )
    last_scale_reason: str | None = Field(
        default=None, max_length=1024, description="Why autoscaling chose that number."
    )
    calibration: CalibrationStatus | None = Field(
        default=None,
        description="What `min_score: auto` stands for, as the serving pods report it. Absent if "
        "nothing was calibrated.",
    )
