"""Objects of a bucket as S3 Inventory tells them."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pyarrow
import pyarrow.parquet
import pytest
from tests.support.object_store import S3Server, keys_of_s3, s3_server

from lookalike_crds.config import FetchPolicy
from lookalike_crds.progress import RunState
from lookalike_crds.sources import SourceSpec
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.buckets.service_store import ServiceStore
from lookalike_serving.images.reader import for_sources
from lookalike_serving.ingest.sources import (
    Entry,
    Item,
    LeftOut,
    Rejected,
    SourceError,
    open_source,
)
from lookalike_serving.ingest.sources.inventory import GONE

from .conftest import Place

BUCKET, REPORTS = "inventoried", "inventories"
FOLDER = f"s3://{REPORTS}/daily/{BUCKET}/all/"
FIELDS = [
    "Bucket",
    "Key",
    "VersionId",
    "IsLatest",
    "IsDeleteMarker",
    "Size",
    "LastModifiedDate",
    "ETag",
    "StorageClass",
]
PARQUET_NAMES = [
    "bucket",
    "key",
    "version_id",
    "is_latest",
    "is_delete_marker",
    "size",
    "last_modified_date",
    "e_tag",
    "storage_class",
]
AT = datetime(2026, 1, 30, 12, tzinfo=UTC)


def row(key: str, **more: Any) -> dict[str, Any]:
    plain = [BUCKET, key, "", True, False, 10, AT, "abc", "STANDARD"]
    return {**dict(zip(FIELDS, plain, strict=True)), **more}


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    for each in rows:
        cells = {**each, "Key": quote_plus(each["Key"], safe="/")}
        cells["LastModifiedDate"] = each["LastModifiedDate"].strftime("%Y-%m-%dT%H:%M:%S.000Z")
        writer.writerow(
            str(cell).lower() if isinstance(cell, bool) else cell for cell in cells.values()
        )
    return gzip.compress(out.getvalue().encode())


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    named = [dict(zip(PARQUET_NAMES, each.values(), strict=True)) for each in rows]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(named), out)
    return out.getvalue()


WRITERS = {"CSV": as_csv, "Parquet": as_parquet}
SCHEMAS = {
    "CSV": ", ".join(FIELDS),
    "Parquet": "message s3.inventory { "
    + " ".join(f"optional binary {name} (UTF8);" for name in PARQUET_NAMES)
    + " }",
}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        server.bucket(BUCKET)
        server.bucket(REPORTS)
        yield server


class Inventories:
    """What Amazon would write."""

    def __init__(self, s3: S3Server) -> None:
        self._s3 = s3

    def write(
        self,
        *files: list[dict[str, Any]],
        format: str = "CSV",
        at: str = "2026-01-31T01-00Z",
        **more: Any,
    ) -> str:
        """The address of the manifest."""
        named = []
        for number, rows in enumerate(files):
            data = WRITERS.get(format, as_csv)(rows)
            key = f"daily/{BUCKET}/all/data/{at}-{number}"
            self._s3.put(REPORTS, key, data)
            named.append({"key": key, "size": len(data), "MD5checksum": ""})
        manifest = {
            "sourceBucket": BUCKET,
            "destinationBucket": f"arn:aws:s3:::{REPORTS}",
            "version": "2016-11-30",
            "fileFormat": format,
            "fileSchema": SCHEMAS.get(format, SCHEMAS["CSV"]),
            "files": named,
            **more,
        }
        self._s3.put(
            REPORTS, f"daily/{BUCKET}/all/{at}/manifest.json", json.dumps(manifest).encode()
        )
        return f"{FOLDER}{at}/manifest.json"


@pytest.fixture
def inventories(s3: S3Server) -> Iterator[Inventories]:
    yield Inventories(s3)
    for each in s3.client.list_objects_v2(Bucket=REPORTS).get("Contents", ()):
        s3.client.delete_object(Bucket=REPORTS, Key=each["Key"])


@pytest.fixture
def listed(s3: S3Server, tmp_path: Path) -> Callable[..., tuple[list[Entry], dict[str, int]]]:
    secrets = keys_of_s3(tmp_path / "secrets")

    def of(inventory: str, **more: Any) -> tuple[list[Entry], dict[str, int]]:
        spec = SourceSpec.model_validate({"name": "s", "s3": kind(s3, inventory, **more)})

        async def entries() -> tuple[list[Entry], dict[str, int]]:
            fetcher = ImageFetcher(FetchPolicy())
            try:
                source = open_source(spec, (), tmp_path, for_sources(fetcher), secrets)
                found = [entry async for entry in source.list()]
                return found, dict(source.skipped.counts)
            finally:
                await fetcher.close()

        return asyncio.run(entries())

    return of


def kind(s3: S3Server, inventory: str, **more: Any) -> dict[str, Any]:
    named = {"bucket": BUCKET, "endpoint": s3.url, "credentialsSecretRef": "keys"}
    return {**named, "inventory": inventory, **more}


ROWS = [
    row("2024/b.jpg"),
    row("2024/é + a.jpg", Size=20),
    row("2023/old.jpg"),
    row("2024/before.jpg", IsLatest=False),
    row("2024/deleted.jpg", IsDeleteMarker=True),
    row("2024/cold.jpg", StorageClass="DEEP_ARCHIVE"),
    row("2024/notes.txt"),
]


@pytest.mark.parametrize("format", ["CSV", "Parquet"])
def test_current_objects_come_in_without_a_listing(
    inventories: Inventories,
    listed: Callable[..., tuple[list[Entry], dict[str, int]]],
    monkeypatch: pytest.MonkeyPatch,
    format: str,
) -> None:
    manifest = inventories.write(ROWS[:3], ROWS[3:], format=format)
    monkeypatch.delattr(ServiceStore, "list")
    entries, skipped = listed(manifest, prefix="2024/", maxBytes=100)
    found = {each.document_id: each for each in entries if isinstance(each, Item)}
    assert found.keys() == {"b.jpg", "é + a.jpg"}
    assert found["é + a.jpg"].version == '20-"abc"'  # as a listing tells it
    assert found["b.jpg"].if_gone == GONE
    [cold] = [each for each in entries if isinstance(each, LeftOut)]
    assert cold.uri.endswith("/2024/cold.jpg")
    assert skipped == {
        "is archived (DEEP_ARCHIVE): restore it, or change its storage class": 1,
        ".txt is no name of an image: if it is one, rename it": 1,
    }


def test_the_newest_inventory_of_a_folder_is_taken(
    inventories: Inventories, listed: Callable[..., tuple[list[Entry], dict[str, int]]]
) -> None:
    with pytest.raises(SourceError, match=r"there is no inventory in .* within 48 hours"):
        listed(FOLDER)
    inventories.write([row("new.jpg")], at="2026-02-01T01-00Z")
    inventories.write([row("old.jpg")], at="2026-01-31T01-00Z")
    entries, _ = listed(FOLDER)
    assert [each.document_id for each in entries if isinstance(each, Item)] == ["new.jpg"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": "ORC"}, "has the format ORC, which is not read: set .* CSV or Parquet"),
        ({"sourceBucket": "other"}, f"is about the bucket other: name one of the bucket {BUCKET}"),
        ({"fileSchema": "Bucket, Key, Size"}, "lacks LastModifiedDate, ETag, StorageClass: add"),
        ({"files": "none"}, "is no manifest of S3 Inventory"),
    ],
)
def test_an_inventory_that_cannot_be_used_is_told(
    inventories: Inventories,
    listed: Callable[..., tuple[list[Entry], dict[str, int]]],
    changes: dict[str, Any],
    told: str,
) -> None:
    with pytest.raises(SourceError, match=told):
        listed(inventories.write([row("a.jpg")], **changes))


def test_a_damaged_or_missing_data_file_hides_what_it_names_and_the_next_is_read(
    s3: S3Server,
    inventories: Inventories,
    listed: Callable[..., tuple[list[Entry], dict[str, int]]],
) -> None:
    manifest = inventories.write([row("a.jpg")], [row("b.jpg")], [row("c.jpg")])
    files = f"daily/{BUCKET}/all/data/2026-01-31T01-00Z-"
    s3.put(REPORTS, f"{files}0", b"\x1f\x8b damaged")
    s3.client.delete_object(Bucket=REPORTS, Key=f"{files}1")
    entries, _ = listed(manifest)
    assert [each.key for each in entries if isinstance(each, Item)] == ["c.jpg"]
    bad = {each.key: each for each in entries if isinstance(each, Rejected)}
    assert bad.keys() == {f"{files}0", f"{files}1"}
    assert all(each.hides for each in bad.values())
    assert "there is no object" in bad[f"{files}1"].cause


def test_an_object_that_is_gone_since_is_skipped_and_no_failure(
    s3: S3Server,
    inventories: Inventories,
    place: Place,
    tmp_path: Path,
    paint: Callable[..., Path],
) -> None:
    keys_of_s3(tmp_path / "secrets")
    s3.put(BUCKET, "there.jpg", paint(tmp_path / "p.jpg", 1).read_bytes())
    manifest = inventories.write([row("there.jpg"), row("gone.jpg")])
    progress = place.ingest({"name": "cloud", "s3": kind(s3, manifest)})
    assert progress.state is RunState.COMPLETED
    total = progress.total
    assert (total.listed, total.new, total.skipped, total.failed) == (2, 1, 1, 0)
    [skipped] = progress.skipped
    assert (skipped.cause, skipped.example) == (GONE, "gone.jpg")
