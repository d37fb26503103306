"""Where a collection's images come from, and their metadata with them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lookalike_crds import path_pattern as paths
from lookalike_crds.base import Schedule, Spec
from lookalike_crds.date_formats import checked_format
from lookalike_crds.names import FieldName, Name, ObjectName


class VolumeSource(Spec):
    """A folder of images: on one machine a path, on a cluster a path inside a
    PersistentVolumeClaim."""

    path: str = Field(
        min_length=1,
        max_length=4096,
        description="The folder. `lookalike up` resolves a relative path against the folder of the "
        "YAML file.",
    )
    glob: str = Field(
        default="**/*",
        max_length=1024,
        description="Which files below the folder to read. Files that are not images are skipped "
        "and counted.",
    )
    claim_name: ObjectName | None = Field(
        default=None,
        description="On a cluster: the PersistentVolumeClaim that contains `path`. It is mounted "
        "read-only.",
    )


class UrlsSource(Spec):
    """A manifest that lists image addresses, or paths relative to it, with their metadata."""

    manifest: str = Field(
        min_length=1, max_length=4096, description="The path or https:// address of the manifest."
    )
    format: Literal["Auto", "Text", "Csv", "JsonLines", "Parquet"] = Field(
        default="Auto",
        description="The manifest's format. Auto goes by its file name. Text means one address per "
        "line.",
    )
    url_column: str = Field(
        default="url",
        max_length=128,
        description="The column or key that holds the image's address.",
    )


_PREFIX = "Only read objects whose key begins with this text."
_ENDPOINT = "The address of a compatible service; the cloud provider's own if unset."
_CREDENTIALS = (
    "The Secret that holds the credentials. If it is unset, the pod's own identity is used."
)


class S3Source(Spec):
    """A bucket of S3 or of an S3-compatible service."""

    bucket: str = Field(min_length=3, max_length=63, description="The bucket's name.")
    prefix: str = Field(default="", max_length=1024, description=_PREFIX)
    region: str | None = Field(
        default=None, max_length=64, description="The region, such as eu-central-1."
    )
    endpoint: str | None = Field(default=None, max_length=2048, description=_ENDPOINT)
    credentials_secret_ref: ObjectName | None = Field(default=None, description=_CREDENTIALS)


class GcsSource(Spec):
    """A bucket of Google Cloud Storage."""

    bucket: str = Field(min_length=3, max_length=222, description="The bucket's name.")
    prefix: str = Field(default="", max_length=1024, description=_PREFIX)
    endpoint: str | None = Field(default=None, max_length=2048, description=_ENDPOINT)
    credentials_secret_ref: ObjectName | None = Field(default=None, description=_CREDENTIALS)


class AzureBlobSource(Spec):
    """A container of Azure Blob Storage."""

    account: str = Field(min_length=3, max_length=24, description="The storage account.")
    container: str = Field(min_length=3, max_length=63, description="The container's name.")
    prefix: str = Field(default="", max_length=1024, description=_PREFIX)
    endpoint: str | None = Field(default=None, max_length=2048, description=_ENDPOINT)
    credentials_secret_ref: ObjectName | None = Field(default=None, description=_CREDENTIALS)


class OnMisfit(StrEnum):
    WARN = "Warn"
    FAIL = "Fail"
    SKIP = "Skip"


ColumnName = Annotated[str, Field(min_length=1, max_length=128)]
DateFormat = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(checked_format)]


class PlaceColumns(Spec):
    """The two columns that tell a place, in degrees."""

    lat: ColumnName = Field(default="lat", description="Column of the latitude.")
    lon: ColumnName = Field(default="lon", description="Column of the longitude.")


PathPattern = Annotated[
    str,
    Field(max_length=paths.MAX_LENGTH, pattern=paths.SHAPE),
    # Before the schema's own check, which cannot say what is wrong.
    BeforeValidator(lambda given: paths.checked(given) if isinstance(given, str) else given),
]


class MetadataMapping(Spec):
    """Where a document's id and metadata come from."""

    file: str | None = Field(
        default=None,
        max_length=4096,
        description="A JSON Lines, CSV or Parquet file with one row per image. Its path is relative"
        " to the source's root.",
    )
    key_column: str = Field(
        default="file",
        max_length=128,
        description="The column of `file` that holds the image's path, relative to the source's "
        "root.",
    )
    document_id: str | None = Field(
        default=None,
        max_length=128,
        description="The column, or the part of pathPattern, that holds the document id. If it is "
        "unset, the image's path or URL is the id.",
    )
    columns: dict[FieldName, Annotated[str, Field(max_length=128)]] = Field(
        default_factory=dict,
        max_length=128,
        description="Maps metadata keys to columns. If it is empty, every column is taken under its"
        " own name. In a key or column, `camera.make` means the key `make` of the "
        "object `camera`.",
    )
    geo: dict[FieldName, PlaceColumns] = Field(
        default_factory=dict,
        max_length=16,
        description="Maps the metadata key of a Geo field to the columns that hold its latitude and"
        " longitude.",
    )
    date_format: tuple[DateFormat, ...] = Field(
        default=(),
        max_length=16,
        description="How the tables write the values of Datetime fields, in the notation of "
        '`strptime` (such as "%d.%m.%Y %H:%M"), or EpochSeconds or EpochMilliseconds. '
        "The first format that fits is used. RFC 3339 is always accepted. A time "
        "without a time zone is taken as UTC.",
    )
    on_missing_row: OnMisfit = Field(
        default=OnMisfit.WARN,
        description="What happens to an image that has no row in `file`. Warn: the image is "
        "ingested without metadata, and counted. Fail: it counts as a failure. Skip: it"
        " is left out, and counted. If documentId takes the id from the row, an image "
        "without a row cannot be ingested.",
    )
    on_bad_value: OnMisfit = Field(
        default=OnMisfit.WARN,
        description="What happens to an image with a value that does not fit its field's type. "
        "Warn: the image is ingested without that value, and counted. Fail: it counts "
        "as a failure. Skip: it is left out, and counted.",
    )
    constants: dict[FieldName, str | int | float | bool] = Field(
        default_factory=dict,
        max_length=64,
        description="Metadata that is given to every document of the source.",
    )
    path_pattern: PathPattern | None = Field(
        default=None,
        description="Takes metadata from paths: `{kind}/{year}/{id}.*` gives shoes/2024/7.jpg the "
        "keys kind, year and id. `*` matches any text within a name, and `**/` any "
        "number of folders. documentId can name one of the parts. If a row of `file` "
        "has the same key, the row wins.",
    )
    file_info: bool = Field(
        default=False,
        description="If true, `file.name`, `file.folder`, `file.bytes` and `file.modified_at` are "
        "added to the metadata.",
    )
    exif: bool = Field(
        default=False,
        description="If true, what the camera wrote into a picture is added to the metadata: "
        "`exif.taken_at`, `exif.camera.make`, `exif.gps` (where it was taken) and "
        "others. If a row of `file` has the same key, the row wins.",
    )

    @model_validator(mode="after")
    def _each_key_once(self) -> Self:
        if both := sorted(self.geo.keys() & (self.columns.keys() | self.constants.keys())):
            raise ValueError(
                f"metadata.geo and metadata.columns or constants both give {both[0]!r}: remove one"
            )
        for given, key in ((self.exif, "exif"), (self.file_info, "file")):
            if given and any(name.partition(".")[0] == key for name in self.constants):
                field = "fileInfo" if key == "file" else key
                raise ValueError(
                    f"metadata.constants has {key!r}, which metadata.{field} fills: rename it, or "
                    f"remove {field}"
                )
        return self


class SourceSpec(Spec):
    """One place images come from: exactly one of volume, urls, s3, gcs, azureBlob."""

    name: Name = Field(description="A name of your choice. Documents carry it as their `source`.")
    volume: VolumeSource | None = None
    urls: UrlsSource | None = None
    s3: S3Source | None = None
    gcs: GcsSource | None = None
    azure_blob: AzureBlobSource | None = None
    metadata: MetadataMapping = MetadataMapping()
    id_prefix: str = Field(
        default="",
        max_length=64,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="A prefix for every document id of this source, such as `north/`. Use it if "
        "several sources have files of the same names. Changing it gives every document"
        " a new id; documents under the old ids stay, unless deleteMissing removes "
        "them.",
    )
    schedule: Schedule | None = Field(
        default=None,
        description="A cron expression (UTC) for regular runs, which ingest what is new or has "
        "changed. Without one, a run starts only when the spec changes.",
    )
    delete_missing: bool = Field(
        default=False,
        description="If true, documents whose image is no longer in the source are deleted.",
    )
