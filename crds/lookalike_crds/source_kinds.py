"""The kinds of sources: each class says what the rest of the software must know of its kind.

A new kind is a class here and a field of `SourceSpec`, which is the one list of them: the schema
of the CRD, the rules, the operator and the command line go by it. What lists the images of a kind
is in `lookalike_serving.ingest.sources`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lookalike_crds.base import Spec
from lookalike_crds.buckets import Bucket, object_address
from lookalike_crds.moments import utc_text
from lookalike_crds.names import ObjectName


class Kind(Spec):
    """What every kind tells of itself; the defaults are those of a kind that needs nothing."""

    paths_are_ids: ClassVar[bool] = True
    """Without a mapping an image's path within the source is its document id."""
    has_paths: ClassVar[bool] = True
    """Images have paths and sizes: metadata.pathPattern and metadata.fileInfo apply."""
    has_user_metadata: ClassVar[bool] = False
    """Images are objects that hold metadata of their own: metadata.userMetadata applies."""
    has_tags: ClassVar[bool] = False
    """Images are objects with tags: metadata.tags applies."""
    brings_metadata: ClassVar[bool] = False
    """Images come with metadata although no mapping says so."""

    def resolved(self, absolute: Callable[[str], str]) -> Self:
        """With the paths of this machine made absolute; `absolute` knows what to."""
        return self

    @property
    def holds_archives(self) -> bool:
        """Whether files may hold images that have keys of their own."""
        return False

    @property
    def folder(self) -> str | None:
        """The folder of this machine that the images lie below."""
        return None

    @property
    def claim(self) -> str | None:
        """The PersistentVolumeClaim that the images lie in."""
        return None

    def in_claim(self, root: str) -> Self:
        """As a pod sees it that has the claim mounted at `root`."""
        return self

    def problems_in_pods(self) -> Iterator[tuple[str, str]]:
        """(field below the kind, message) for what means nothing on a cluster."""
        yield from ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets that are needed to read the images."""
        return ()

    def as_bucket(self, secrets: Path | None) -> Bucket | None:
        """The bucket that the images lie in. `secrets`: the folder that has one folder for each
        Secret."""
        return None


_ENDPOINT = r"^https?://[^?#@\s]+$"
_ARCHIVES = (
    "If true, images in tar archives (.tar) and in Parquet files (.parquet, .pq) are read as well. "
    "Files of an archive whose names are equal up to the first dot belong together, as WebDataset "
    "writes them: 0001.json and 0001.txt are the metadata of 0001.jpg. The other columns of a "
    "Parquet file are the metadata of its images."
)
_IMAGE_COLUMN = (
    "With `archives`: the column of Parquet files that holds the bytes of the images, such as "
    "`image` or `image.bytes`. If it is unset, the column `image` or the only column of bytes."
)


class VolumeSource(Kind):
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
    archives: bool = Field(
        default=False,
        description=_ARCHIVES,
    )
    image_column: str | None = Field(
        default=None, min_length=1, max_length=128, description=_IMAGE_COLUMN
    )
    watch: bool = Field(
        default=False,
        description="If true, `lookalike up` watches the folder: files that are added, changed, "
        "renamed or removed are ingested within seconds. On a cluster, set a schedule instead.",
    )
    claim_name: ObjectName | None = Field(
        default=None,
        description="On a cluster: the PersistentVolumeClaim that contains `path`. It is mounted "
        "read-only.",
    )

    def resolved(self, absolute: Callable[[str], str]) -> Self:
        return self.model_copy(update={"path": absolute(self.path)})

    @property
    def holds_archives(self) -> bool:
        return self.archives

    @property
    def folder(self) -> str | None:
        return self.path

    @property
    def claim(self) -> str | None:
        return self.claim_name

    def in_claim(self, root: str) -> Self:
        path = posixpath.normpath(posixpath.join(root, self.path.lstrip("/")))
        return self.model_copy(update={"path": path, "claim_name": None})

    def problems_in_pods(self) -> Iterator[tuple[str, str]]:
        if self.watch:
            yield "watch", "is for `lookalike up`: on a cluster remove it, and set a schedule"
        if self.claim_name is None:
            if not self.path.startswith("/"):
                yield (
                    "claimName",
                    "is missing: on a cluster a relative path is inside a PersistentVolumeClaim; "
                    "name it",
                )
            return
        inside = posixpath.normpath(posixpath.join("/", self.path.lstrip("/")))
        plain = posixpath.normpath(self.path.lstrip("/") or ".")
        if plain.startswith("..") or not inside.startswith("/"):
            yield "path", f"{self.path} leads out of the claim"


class UrlsSource(Kind):
    """A manifest that lists image addresses, or paths relative to it, with their metadata."""

    paths_are_ids: ClassVar[bool] = False
    has_paths: ClassVar[bool] = False
    brings_metadata: ClassVar[bool] = True

    manifest: str = Field(
        min_length=1,
        max_length=4096,
        description="The path of the manifest, its https:// address, or its address in a bucket: "
        "s3://bucket/key, gs://bucket/key or az://container@account/key.",
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
    host_concurrency: int = Field(
        default=8,
        ge=1,
        le=64,
        description="How many images each ingestion process fetches from one host at once.",
    )
    host_requests_per_second: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="How many images each ingestion process fetches from one host per second, at "
        "most. If it is unset, there is no limit besides hostConcurrency.",
    )
    endpoint: Annotated[str, Field(max_length=2048, pattern=_ENDPOINT)] | None = Field(
        default=None,
        description="If the manifest lies in a bucket of a compatible service: its address, such "
        "as https://minio.example.com.",
    )
    credentials_secret_ref: ObjectName | None = Field(
        default=None,
        description="If the manifest lies in a bucket: the Secret that holds the credentials. If "
        "it is unset, the manifest is read as the source of the collection that lists this part of "
        "the bucket reads it, or with the pod's own identity.",
    )

    @model_validator(mode="after")
    def _of_a_bucket(self) -> Self:
        found = object_address(self.manifest)
        if found is None:
            for field, given in (
                ("endpoint", self.endpoint),
                ("credentialsSecretRef", self.credentials_secret_ref),
            ):
                if given is not None:
                    raise ValueError(
                        f"{field} applies to a manifest in a bucket (s3://, gs://, az://), which "
                        f"{self.manifest!r:.200} is not: remove it"
                    )
        elif found.scheme == "az" and "@" not in found.authority:
            raise ValueError(
                f"manifest {self.manifest!r:.200} lacks the storage account: write it as "
                f"az://{found.authority}@account/{found.key}"[:600]
            )
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        return () if self.credentials_secret_ref is None else (self.credentials_secret_ref,)

    def manifest_bucket(self, secrets: Path | None) -> Bucket | None:
        """The folder of a bucket that the manifest lies in; None if it does not lie in one."""
        found = object_address(self.manifest)
        if found is None:
            return None
        name, _, place = found.authority.partition("@")
        azure = found.scheme == "az"
        named = self.credentials_secret_ref
        return Bucket(
            scheme=found.scheme,
            name=name,
            prefix=found.key[: found.key.rfind("/") + 1],
            account=place if azure else None,
            endpoint=self.endpoint or (f"https://{place}" if place and not azure else None),
            credentials=None if named is None or secrets is None else secrets / named,
        )

    @property
    def address(self) -> str:
        """Of the manifest; in a bucket, with the service that the bucket belongs to."""
        found, bucket = object_address(self.manifest), self.manifest_bucket(None)
        return self.manifest if found is None or bucket is None else bucket.address(found.key)

    @property
    def is_local(self) -> bool:
        """Whether the manifest is a file of this machine."""
        return "://" not in self.manifest

    def resolved(self, absolute: Callable[[str], str]) -> Self:
        if not self.is_local:
            return self
        return self.model_copy(update={"manifest": absolute(self.manifest)})

    @property
    def folder(self) -> str | None:
        return posixpath.dirname(self.manifest) if self.manifest.startswith("/") else None

    def problems_in_pods(self) -> Iterator[tuple[str, str]]:
        if self.is_local and not self.manifest.startswith("/"):
            yield (
                "manifest",
                f"{self.manifest} is relative: on a cluster write its https:// address",
            )


def _moment(given: object) -> object:
    """YAML reads a time as a time, JSON as a text. Raises ValueError."""
    read = given
    if isinstance(given, str):
        try:
            read = datetime.fromisoformat(given)
        except ValueError:
            raise ValueError("write a time as 2026-01-31T12:00:00Z") from None
    if not isinstance(read, datetime):
        raise ValueError("write a time with its date, as 2026-01-31T12:00:00Z")
    if read.tzinfo is None:
        raise ValueError("write the time zone, too, as in 2026-01-31T12:00:00Z")
    return utc_text(read.astimezone(UTC))


Moment = Annotated[
    str,
    Field(max_length=64, json_schema_extra={"format": "date-time"}),
    BeforeValidator(_moment),
]
"""A time as RFC 3339 writes it."""

_INVENTORY = r"^s3://[^/?#\s]+/(.+/)?(manifest\.json|[^/]+/)$"


class BucketSource(Kind):
    """What the kinds of buckets share."""

    has_user_metadata: ClassVar[bool] = True

    prefix: str = Field(
        default="",
        max_length=1024,
        description="Only objects whose key begins with this text are read. Paths – in glob, "
        "metadata and document ids – are relative to the folder that it names: the text up to its "
        "last `/`.",
    )
    glob: str = Field(
        default="**/*",
        max_length=1024,
        description="Which objects to read, by their path below the prefix's folder. Objects that "
        "are not images are skipped and counted.",
    )
    archives: bool = Field(
        default=False,
        description=_ARCHIVES,
    )
    image_column: str | None = Field(
        default=None, min_length=1, max_length=128, description=_IMAGE_COLUMN
    )
    start_after: str | None = Field(
        default=None,
        max_length=1024,
        description="Only objects whose whole key comes after this text, in the order of UTF-8, "
        "are read.",
    )
    min_bytes: int = Field(default=1, ge=0, description="Smaller objects are skipped and counted.")
    max_bytes: int | None = Field(
        default=None, ge=1, description="Larger objects are skipped and counted."
    )
    modified_after: Moment | None = Field(
        default=None, description="Objects last modified before this time (RFC 3339) are skipped."
    )
    modified_before: Moment | None = Field(
        default=None,
        description="Objects last modified at this time (RFC 3339) or later are skipped.",
    )
    endpoint: Annotated[str, Field(max_length=2048, pattern=_ENDPOINT)] | None = Field(
        default=None,
        description="The address of a compatible service, such as https://minio.example.com. If "
        "it is unset, the cloud provider's own is used.",
    )
    credentials_secret_ref: ObjectName | None = Field(
        default=None,
        description="The Secret that holds the credentials. If it is unset, the pod's own identity "
        "is used.",
    )

    @property
    def holds_archives(self) -> bool:
        return self.archives

    @property
    def secrets(self) -> tuple[str, ...]:
        return () if self.credentials_secret_ref is None else (self.credentials_secret_ref,)

    def _credentials(self, secrets: Path | None) -> Path | None:
        named = self.credentials_secret_ref
        return None if named is None or secrets is None else secrets / named


class S3Source(BucketSource):
    """A bucket of S3 or of an S3-compatible service."""

    has_tags: ClassVar[bool] = True

    bucket: str = Field(min_length=3, max_length=63, description="The bucket's name.")
    region: str | None = Field(
        default=None,
        max_length=64,
        description="The region, such as eu-central-1. If it is unset, the bucket is asked for it.",
    )
    path_style: bool | None = Field(
        default=None,
        description="Whether the bucket is part of the path (true) or of the host name (false). "
        "If it is unset, it is part of the path of an endpoint, and of Amazon's host names.",
    )
    requester_pays: bool = Field(
        default=False, description="If true, this account pays for the requests to the bucket."
    )
    inventory: Annotated[str, Field(max_length=2048, pattern=_INVENTORY)] | None = Field(
        default=None,
        description="The address of the manifest.json of an S3 Inventory (CSV or Parquet), or of "
        "the folder that the inventory is written to, with a `/` at its end; the newest is taken. "
        "The objects are read from it, and the bucket is not listed. It is read with the "
        "credentials of the source.",
    )

    def as_bucket(self, secrets: Path | None) -> Bucket | None:
        return Bucket(
            scheme="s3",
            name=self.bucket,
            prefix=self.prefix,
            region=self.region,
            endpoint=self.endpoint,
            path_style=self.path_style,
            requester_pays=self.requester_pays,
            credentials=self._credentials(secrets),
        )


class GcsSource(BucketSource):
    """A bucket of Google Cloud Storage."""

    bucket: str = Field(min_length=3, max_length=222, description="The bucket's name.")

    def as_bucket(self, secrets: Path | None) -> Bucket | None:
        return Bucket(
            scheme="gs",
            name=self.bucket,
            prefix=self.prefix,
            endpoint=self.endpoint,
            credentials=self._credentials(secrets),
        )


class AzureBlobSource(BucketSource):
    """A container of Azure Blob Storage."""

    has_tags: ClassVar[bool] = True

    account: str = Field(min_length=3, max_length=24, description="The storage account.")
    container: str = Field(min_length=3, max_length=63, description="The container's name.")

    def as_bucket(self, secrets: Path | None) -> Bucket | None:
        return Bucket(
            scheme="az",
            name=self.container,
            account=self.account,
            prefix=self.prefix,
            endpoint=self.endpoint,
            credentials=self._credentials(secrets),
        )
