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
    claim_name: ObjectName | None = Field(
        default=None,
        description="On a cluster: the PersistentVolumeClaim that `path` is in. It is only read.",
    )


class UrlsSource(Spec):
    """A manifest that lists image addresses, or paths relative to it, with their metadata."""

    manifest: str = Field(
        min_length=1, max_length=4096, description="Path or https:// address of the manifest."
    )
    format: Literal["Auto", "Text", "Csv", "JsonLines", "Parquet"] = Field(
        default="Auto", description="Auto: by the manifest's name. Text: one address a line."
    )
    url_column: str = Field(
        default="url", max_length=128, description="Column or key that holds the address."
    )


_PREFIX = "Only keys that begin with it."
_ENDPOINT = "Of a service that speaks the same protocol; the cloud's own where unset."
_CREDENTIALS = "Secret with the credentials; the pod's own identity where unset."


class S3Source(Spec):
    """A bucket of S3, or of a service that speaks its protocol."""

    bucket: str = Field(min_length=3, max_length=63, description="Its name.")
    prefix: str = Field(default="", max_length=1024, description=_PREFIX)
    region: str | None = Field(default=None, max_length=64, description="Such as eu-central-1.")
    endpoint: str | None = Field(default=None, max_length=2048, description=_ENDPOINT)
    credentials_secret_ref: ObjectName | None = Field(default=None, description=_CREDENTIALS)


class GcsSource(Spec):
    """A bucket of Google Cloud Storage."""

    bucket: str = Field(min_length=3, max_length=222, description="Its name.")
    prefix: str = Field(default="", max_length=1024, description=_PREFIX)
    endpoint: str | None = Field(default=None, max_length=2048, description=_ENDPOINT)
    credentials_secret_ref: ObjectName | None = Field(default=None, description=_CREDENTIALS)


class AzureBlobSource(Spec):
    """A container of Azure Blob Storage."""

    account: str = Field(min_length=3, max_length=24, description="The storage account.")
    container: str = Field(min_length=3, max_length=63, description="Its name.")
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
        description="Column, or part of pathPattern, that holds the document id; the path or URL "
        "is the id where unset.",
    )
    columns: dict[FieldName, Annotated[str, Field(max_length=128)]] = Field(
        default_factory=dict,
        max_length=128,
        description="Metadata key -> column. Empty: every column under its own name. A key or "
        "column `camera.make` is the key `make` of the object `camera`.",
    )
    geo: dict[FieldName, PlaceColumns] = Field(
        default_factory=dict,
        max_length=16,
        description="Metadata key -> the columns of its latitude and longitude, for a field of "
        "type Geo.",
    )
    date_format: tuple[DateFormat, ...] = Field(
        default=(),
        max_length=16,
        description="How the tables write the values of Datetime fields, as `strptime` reads it: "
        '"%d.%m.%Y %H:%M", or EpochSeconds or EpochMilliseconds. The first that fits counts. RFC '
        "3339 is read in any case. A time without a zone is UTC.",
    )
    on_missing_row: OnMisfit = Field(
        default=OnMisfit.WARN,
        description="What becomes of an image that `file` has no row for. Warn: it comes in "
        "without metadata, which is counted; Fail: it is a failure; Skip: it is left out and "
        "counted. One whose id documentId takes from the row cannot come in.",
    )
    on_bad_value: OnMisfit = Field(
        default=OnMisfit.WARN,
        description="What becomes of an image with a value that does not fit its field. Warn: it "
        "comes in without that value, which is counted; Fail: it is a failure; Skip: it is left "
        "out and counted.",
    )
    constants: dict[FieldName, str | int | float | bool] = Field(
        default_factory=dict,
        max_length=64,
        description="Metadata that every document of the source has.",
    )
    path_pattern: PathPattern | None = Field(
        default=None,
        description="Metadata from paths: `{kind}/{year}/{id}.*` gives shoes/2024/7.jpg the keys "
        "kind, year and id; `*` is any text within a name, `**/` any folders. documentId may name "
        "a part. A row of `file` counts more.",
    )
    file_info: bool = Field(
        default=False,
        description="True: `file.name`, `file.folder`, `file.bytes` and `file.modified_at` are "
        "metadata, too.",
    )
    exif: bool = Field(
        default=False,
        description="True: what the camera wrote into a picture is metadata, too: `exif.taken_at`, "
        "`exif.camera.make`, `exif.gps` (where it was taken) and others. A row of `file` that says "
        "the same key counts more.",
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

    name: Name = Field(description="Of your choice; documents tell it as their `source`.")
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
        description="Put before each document id of this source, such as `north/`: for sources "
        "whose files have the same names. Another one gives new ids: the documents under the "
        "old ones stay, or go with deleteMissing.",
    )
    schedule: Schedule | None = Field(
        default=None,
        description="Cron expression, UTC, of runs that take in what is new or changed; without "
        "one a run starts when the spec changes.",
    )
    delete_missing: bool = Field(
        default=False,
        description="True: documents whose image is no longer in the source are deleted.",
    )
