"""Where a collection's images come from, and their metadata with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic.alias_generators import to_camel

from lookalike_crds import path_pattern as paths
from lookalike_crds.base import Schedule, Spec
from lookalike_crds.buckets import Bucket, declared, object_address
from lookalike_crds.date_formats import checked_format
from lookalike_crds.names import FieldName, Name
from lookalike_crds.source_kinds import (
    AzureBlobSource,
    GcsSource,
    Kind,
    S3Source,
    UrlsSource,
    VolumeSource,
)


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
    sidecars: bool = Field(
        default=False,
        description="If true, the JSON object in shoe.json is the metadata of shoe.jpg, in folders "
        "and buckets. If a row of `file` has the same key, the row wins.",
    )
    user_metadata: bool = Field(
        default=False,
        description="If true, what was stored with an object of a bucket becomes metadata: "
        "`x-amz-meta-*` of S3, custom metadata of Google Cloud Storage, metadata of a blob of "
        "Azure. If a tag, a sidecar or a row of `file` has the same key, that wins.",
    )
    tags: bool = Field(
        default=False,
        description="If true, the tags of an object of S3 or the index tags of a blob of Azure "
        "become metadata. If a sidecar or a row of `file` has the same key, that wins.",
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
    """One place that images come from: exactly one of volume, urls, s3, gcs, azureBlob."""

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
        "changed. A new schedule begins with its next time. Without one, a run starts only when "
        "the spec changes.",
    )
    delete_missing: bool = Field(
        default=False,
        description="If true, documents whose image is no longer in the source are deleted.",
    )

    @property
    def kind(self) -> Kind:
        """The kind that is written. Of a spec that breaks the rule for it: the first, or none."""
        written = (getattr(self, name) for name in KINDS)
        return next((each for each in written if each is not None), Kind())

    @property
    def takes_changes(self) -> bool:
        """Whether a serving process is told, or sees, which of its objects or files change."""
        watched = isinstance(self.kind, VolumeSource) and self.kind.watch
        return watched or self.kind.as_bucket(None) is not None

    @property
    def kind_field(self) -> str:
        """The kind's field as it stands in YAML, such as `azureBlob`."""
        written = (name for name in KINDS if getattr(self, name) is not None)
        return next((to_camel(name) for name in written), "")

    def with_kind(self, kind: Kind) -> Self:
        """The same source with another value of its kind."""
        names = [name for name in KINDS if getattr(self, name) is not None]
        return self.model_copy(update={names[0]: kind}) if names else self


def buckets_of(sources: Iterable[SourceSpec], secrets: Path | None) -> tuple[Bucket, ...]:
    """The buckets whose objects may be read for one collection: those that its sources list, and of
    a manifest that lies in none of these, the folder of the manifest.

    `secrets`: the folder that has one folder for each Secret.
    """
    kinds = [source.kind for source in sources]
    found = [each for kind in kinds if (each := kind.as_bucket(secrets)) is not None]
    listed = tuple(found)
    for kind in kinds:
        if not isinstance(kind, UrlsSource) or (own := kind.manifest_bucket(secrets)) is None:
            continue
        address = object_address(kind.address)
        of_another = address is not None and declared(listed, address) is not None
        if kind.credentials_secret_ref is not None or not of_another:
            found.append(own)
    return tuple(dict.fromkeys(found))


def _kind_of(annotation: Any) -> type[Kind] | None:
    types = (each for each in get_args(annotation) if isinstance(each, type))
    return next((each for each in types if issubclass(each, Kind)), None)


KINDS: Mapping[str, type[Kind]] = {
    name: kind
    for name, field in SourceSpec.model_fields.items()
    if (kind := _kind_of(field.annotation)) is not None
}
"""Every kind of source by its field of `SourceSpec`, in snake case."""
