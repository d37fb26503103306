"""The objects of a bucket as S3 Inventory tells them, instead of a listing.

    …/2026-01-31T01-00Z/manifest.json --names--> data files (CSV or Parquet) --rows--> objects

Amazon writes an inventory once a day or once a week. It is read as a stream, with a few requests
for millions of keys; its order is that of the data files. What it tells may be out of date: an
object that is gone is found to be so when it is read. The user guide of Amazon S3 describes the
files and their fields under "Locating your inventory list".
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO, cast
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from lookalike_crds.buckets import Bucket, ObjectAddress, object_address
from lookalike_serving.images import ImageError
from lookalike_serving.images.buckets import Listed, ObjectStore, open_store
from lookalike_serving.images.buckets.remote_file import RemoteFile
from lookalike_serving.images.buckets.s3 import ARCHIVED
from lookalike_serving.ingest.sources.archives import in_batches
from lookalike_serving.ingest.sources.csv_rows import MAX_ROW
from lookalike_serving.ingest.sources.protocol import Rejected, SourceError
from lookalike_serving.parquet import BadRow, Damaged, ParquetProcess

GONE = "is in the inventory and no longer in the bucket"
_MANIFEST = "manifest.json"
_MOST_MANIFEST_BYTES = 64 * 1024 * 1024
_PAGE = 1000
_ARCHIVED_TIERS = frozenset(("ARCHIVE", "ARCHIVE_ACCESS", "DEEP_ARCHIVE", "DEEP_ARCHIVE_ACCESS"))
_DAMAGE = (
    ImageError,
    Damaged,
    OSError,
    EOFError,
    KeyError,
    ValueError,
    zlib.error,
    csv.Error,
)
"""What one data file may be at fault with."""
_NEEDED = {
    "key": "Key",
    "size": "Size",
    "lastmodifieddate": "LastModifiedDate",
    "etag": "ETag",
    "storageclass": "StorageClass",
}
"""Fields as they are compared, and as Amazon calls them."""


class _File(BaseModel):
    key: str
    size: int


class _Manifest(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    source_bucket: str
    file_format: str
    file_schema: str
    files: list[_File] = Field(max_length=1_000_000)


@dataclass(frozen=True, slots=True)
class _Inventory:
    """One inventory, and the bucket that it lies in."""

    store: ObjectStore
    at: str
    """The address of its manifest."""
    manifest: _Manifest


async def objects(
    address: str, bucket: Bucket, source: str
) -> AsyncIterator[Sequence[Listed | Rejected]]:
    """The objects of a bucket that an inventory tells, a page at a time.

    `address`: of a manifest.json, or of the folder of an inventory, of which the newest is taken.
    Raises SourceError and BucketError.
    """
    where = object_address(address)
    if where is None or where.scheme != "s3":
        raise SourceError(
            f"source {source}: inventory is {address!r:.300}: write it as "
            "s3://bucket/prefix/manifest.json, or as the folder of the inventory with a / at the "
            "end"
        )
    inventory = await _opened(where, bucket, source)
    loop = asyncio.get_running_loop()
    for file in inventory.manifest.files:

        def opened(file: _File = file) -> BinaryIO:
            read = partial(inventory.store.read_range, file.key)
            return cast("BinaryIO", RemoteFile(file.size, read, loop))

        try:
            rows = _rows(inventory.manifest, opened)
            async for batch in in_batches(_listed(rows, bucket), _PAGE):
                yield batch
        except _DAMAGE as error:
            told = f"of the inventory {inventory.at} cannot be read: {error}"
            yield [Rejected(file.key, told, hides=True)]


async def _opened(where: ObjectAddress, bucket: Bucket, source: str) -> _Inventory:
    """Raises SourceError and BucketError."""
    place = bucket.model_copy(
        update={"name": where.authority.partition("@")[0], "prefix": "", "requester_pays": False}
    )
    if place.name != bucket.name:
        place = place.model_copy(update={"region": None})
    store = open_store(place)
    key = where.key
    if not key.endswith(f"/{_MANIFEST}"):
        folder = key.rstrip("/") + "/"
        newest = await _newest(store, folder)
        if newest is None:
            raise SourceError(
                f"source {source}: there is no inventory in {place.address(folder)}: Amazon writes "
                "the first within 48 hours; correct the folder, which is the one that has folders "
                "such as 2026-01-31T01-00Z"
            )
        key = newest
    at = place.address(key)
    try:
        read = await store.read(key, _MOST_MANIFEST_BYTES)
        manifest = _Manifest.model_validate_json(read)
    except ImageError as error:
        raise SourceError(f"source {source}: the inventory {at}: {error.message}") from None
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(map(str, first["loc"])) or "it"
        raise SourceError(
            f"source {source}: {at} is no manifest of S3 Inventory ({what}: {first['msg']}): name "
            "its manifest.json"
        ) from None
    _check(manifest, bucket, at, source)
    return _Inventory(store, at, manifest)


async def _newest(store: ObjectStore, folder: str) -> str | None:
    """The key of the newest manifest of a folder, whose folders are named by their time."""
    newest = None
    # The data files are next to these folders, and are many.
    async for page in store.list(f"{folder}2"):
        for each in page:
            if each.key.endswith(f"/{_MANIFEST}") and each.key.count("/") == folder.count("/") + 1:
                newest = max(newest or "", each.key)
    return newest


def _check(manifest: _Manifest, bucket: Bucket, at: str, source: str) -> None:
    """Raises SourceError."""
    if manifest.source_bucket != bucket.name:
        raise SourceError(
            f"source {source}: the inventory {at} is about the bucket {manifest.source_bucket}: "
            f"name one of the bucket {bucket.name}"
        )
    if manifest.file_format.upper() not in ("CSV", "PARQUET"):
        raise SourceError(
            f"source {source}: the inventory {at} has the format {manifest.file_format}, which is "
            "not read: set the format of the inventory configuration to CSV or Parquet"
        )
    there = set(_names(manifest))
    if lacking := [name for field, name in _NEEDED.items() if field not in there]:
        raise SourceError(
            f"source {source}: the inventory {at} lacks {', '.join(lacking)}: add them to the "
            "optional fields of the inventory configuration"
        )


def _names(manifest: _Manifest) -> list[str]:
    """Its fields as they are compared: `e_tag` of Parquet is the `ETag` of CSV."""
    if manifest.file_format.upper() == "CSV":
        return [_folded(name) for name in manifest.file_schema.split(",")]
    # message s3.inventory { required binary key (UTF8); optional int64 size; … }
    inside = manifest.file_schema.partition("{")[2].partition("}")[0]
    fields = (each.split("(")[0].split() for each in inside.split(";"))
    return [_folded(words[2]) for words in fields if len(words) > 2]


def _folded(name: str) -> str:
    return name.strip().replace("_", "").lower()


def _rows(manifest: _Manifest, opened: Any) -> Iterator[dict[str, Any] | BadRow]:
    """The rows of one data file, by folded names; for a thread. Raises what reading raises."""
    if manifest.file_format.upper() == "CSV":
        names = _names(manifest)
        unpacked = gzip.GzipFile(fileobj=opened())
        with io.TextIOWrapper(cast("BinaryIO", unpacked), "utf-8", newline="") as lines:
            for cells in csv.reader(_bounded(lines)):
                row = dict(zip(names, cells, strict=False))
                if "key" in row:
                    yield {**row, "key": unquote_plus(row["key"], errors="surrogateescape")}
        return
    process = ParquetProcess()
    try:
        file = opened()
        for found in process.rows(file, most_rows=2**40, most_row=MAX_ROW):
            if isinstance(found, BadRow):
                yield found
            else:
                yield {_folded(name): value for name, value in found.items()}
    finally:
        process.close()


def _bounded(lines: io.TextIOWrapper) -> Iterator[str]:
    while line := lines.readline(MAX_ROW):
        if len(line) == MAX_ROW:
            raise ValueError(f"a line is longer than {MAX_ROW:,} characters")
        yield line


def _listed(rows: Iterator[dict[str, Any] | BadRow], bucket: Bucket) -> Iterator[Listed | Rejected]:
    """Current objects below the bucket's prefix, as its listing would tell them."""
    for row in rows:
        if isinstance(row, BadRow):
            yield Rejected(f"inventory {row.place}", row.cause, hides=True)
            continue
        if not row["key"].startswith(bucket.prefix):
            continue
        if _is(row.get("isdeletemarker")) or not _is(row.get("islatest", True)):
            continue
        size, modified = int(row["size"]), datetime.fromisoformat(row["lastmodifieddate"])
        if modified.tzinfo is None:
            modified = modified.replace(tzinfo=UTC)
        # As listing tells it, so that going over to an inventory reads nothing again.
        version = f'{size}-"{row["etag"].strip(chr(34))}"'
        kept, tier = row["storageclass"], row.get("intelligenttieringaccesstier")
        archived = kept if kept in ARCHIVED else None
        if tier in _ARCHIVED_TIERS:
            archived = f"{kept}, {tier}"
        yield Listed(row["key"], size, modified, version, archived)


def _is(said: Any) -> bool:
    """CSV has texts, Parquet booleans."""
    return said is True or str(said).lower() == "true"
