"""`ImageCollection`: which images, which embedding model, which index."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from lookalike_crds.base import FieldName, Name, SecretKeyRef, Spec


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


class IngestionSpec(Spec):
    parallelism: int | None = Field(
        default=None, ge=1, le=1000, description="Workers; one for each CPU where unset."
    )
    batch_size: int = Field(default=32, ge=1, le=1024)
    max_failures: int | None = Field(
        default=None, ge=0, description="Stop after so many failed images; no limit where unset."
    )


class ImageCollectionSpec(Spec):
    model: ModelSpec = ModelSpec()
    vector: VectorSpec = VectorSpec()
    index: IndexSpec = IndexSpec()
    fields: tuple[FieldSpec, ...] = Field(default=(), max_length=128)
    sources: tuple[SourceSpec, ...] = Field(default=(), max_length=64)
    ingestion: IngestionSpec = IngestionSpec()
