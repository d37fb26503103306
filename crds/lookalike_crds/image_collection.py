"""`ImageCollection`: which images, which embedding model, which index."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike_crds.base import (
    Condition,
    FieldName,
    Name,
    Quantity,
    SecretKeyRef,
    Spec,
    Status,
)


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
    provider: Provider = Provider.DEMO
    name: str | None = Field(
        default=None, max_length=253, description="The provider's model name, such as `ViT-B-32`."
    )
    weights: str | None = Field(
        default=None,
        max_length=2048,
        description="Pretrained tag, file path, `hf-hub:org/model`, or `s3://`, `gs://` or `az://` "
        "address.",
    )
    precision: Precision = Precision.AUTO
    revision: str | None = Field(default=None, max_length=128)


class HnswSpec(Spec):
    m: int = Field(default=16, ge=4, le=128)
    ef_construct: int = Field(default=128, ge=8, le=2048)


class VectorSpec(Spec):
    distance: Distance = Distance.COSINE
    hnsw: HnswSpec = HnswSpec()
    quantization: Quantization = Quantization.NONE
    on_disk: bool = False


class QdrantSpec(Spec):
    url: str | None = Field(default=None, max_length=2048)
    service_ref: Name | None = None
    api_key_secret_ref: SecretKeyRef | None = None
    shards: int = Field(default=1, ge=1, le=256)
    replication_factor: int = Field(default=1, ge=1, le=16)


class StorageSpec(Spec):
    size: str = Field(
        default="10Gi", max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi)?$"
    )
    storage_class_name: str | None = Field(default=None, max_length=253)


class IndexSpec(Spec):
    engine: Engine = Engine.QDRANT
    qdrant: QdrantSpec | None = None
    storage: StorageSpec | None = None


class FieldSpec(Spec):
    name: FieldName
    type: FieldType


class VolumeSource(Spec):
    """A folder of images: a path on one machine; on a cluster, one inside a volume claim."""

    path: str = Field(
        min_length=1,
        max_length=4096,
        description="Folder; relative paths are resolved against the YAML file by `lookalike up`.",
    )
    glob: str = Field(
        default="**/*",
        max_length=1024,
        description="Which files below the folder; what is not an image is skipped and counted.",
    )
    claim_name: Name | None = None


class UrlsSource(Spec):
    """A manifest that lists image addresses, or paths relative to it, with their metadata."""

    manifest: str = Field(
        min_length=1, max_length=4096, description="Path or https:// address of the manifest."
    )
    format: Literal["Auto", "Text", "Csv", "JsonLines", "Parquet"] = "Auto"
    url_column: str = Field(default="url", max_length=128)


class S3Source(Spec):
    bucket: str = Field(min_length=3, max_length=63)
    prefix: str = Field(default="", max_length=1024)
    region: str | None = Field(default=None, max_length=64)
    endpoint: str | None = Field(default=None, max_length=2048)
    credentials_secret_ref: Name | None = None


class GcsSource(Spec):
    bucket: str = Field(min_length=3, max_length=222)
    prefix: str = Field(default="", max_length=1024)
    endpoint: str | None = Field(default=None, max_length=2048)
    credentials_secret_ref: Name | None = None


class AzureBlobSource(Spec):
    account: str = Field(min_length=3, max_length=24)
    container: str = Field(min_length=3, max_length=63)
    prefix: str = Field(default="", max_length=1024)
    endpoint: str | None = Field(default=None, max_length=2048)
    credentials_secret_ref: Name | None = None


class MetadataMapping(Spec):
    """Where a document's id and metadata come from."""

    file: str | None = Field(
        default=None,
        max_length=4096,
        description="JSON Lines, CSV or Parquet file with one row an image, relative to the "
        "source's root.",
    )
    key_column: str = Field(
        default="file",
        max_length=128,
        description="Column of `file` that holds the image's path relative to the source's root.",
    )
    document_id: str | None = Field(
        default=None,
        max_length=128,
        description="Column that holds the document id; the path or URL is the id where unset.",
    )
    columns: dict[FieldName, Annotated[str, Field(max_length=128)]] = Field(
        default_factory=dict,
        max_length=128,
        description="Metadata key -> column. Empty: every column under its own name.",
    )
    constants: dict[FieldName, str | int | float | bool] = Field(
        default_factory=dict, max_length=64
    )


class SourceSpec(Spec):
    """One place images come from: exactly one of volume, urls, s3, gcs, azureBlob."""

    name: Name
    volume: VolumeSource | None = None
    urls: UrlsSource | None = None
    s3: S3Source | None = None
    gcs: GcsSource | None = None
    azure_blob: AzureBlobSource | None = None
    metadata: MetadataMapping = MetadataMapping()
    schedule: str | None = Field(default=None, max_length=128)
    delete_missing: bool = False


class ResourceList(Spec):
    """Requests and limits of a container, as Kubernetes writes them."""

    requests: dict[Quantity, Quantity] = Field(default_factory=dict, max_length=16)
    limits: dict[Quantity, Quantity] = Field(default_factory=dict, max_length=16)


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

    schedule: str | None = Field(
        default=None,
        max_length=128,
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

    name: Name
    cursor: str | None = Field(default=None, max_length=1024)
    last_run: str | None = Field(default=None, max_length=64, description="RFC 3339.")
    listed: int = Field(default=0, ge=0)
    ingested: int = Field(default=0, ge=0)
    failed: int = Field(default=0, ge=0)


class RunStatus(Status):
    """The ingestion run that the spec asks for, or the last one."""

    id: str = Field(
        max_length=63, description="Names what is to be ingested: another id is another run."
    )
    job: str | None = Field(default=None, max_length=63, description="Its Job.")
    state: Literal["Running", "Completed", "CompletedWithErrors", "Failed"] = "Running"
    message: str | None = Field(default=None, max_length=1024)
    finished_at: str | None = Field(default=None, max_length=64, description="RFC 3339.")


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
    sources: tuple[SourceStatus, ...] = Field(default=(), max_length=64)
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
    run: RunStatus | None = Field(default=None, description="The last ingestion run.")
    last_duplicate_scan: str | None = Field(default=None, max_length=64, description="RFC 3339.")
