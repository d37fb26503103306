"""What a source in a bucket lists: by path, size and time, with metadata of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.object_store import S3Server, keys_of_s3, s3_server

from lookalike_crds.config import FetchPolicy
from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.load import load_resources
from lookalike_crds.progress import ByCause
from lookalike_crds.sources import SourceSpec
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.reader import for_sources
from lookalike_serving.ingest.sources import Entry, Item, LeftOut, SourceError, open_source

FIELDS = (FieldSpec(name="price", type=FieldType.FLOAT),)
TABLE = "file,price\nshoes/1.jpg,3.5\nshoes/2e\u0301.jpg,4\nshoes/none.jpg,5\n"
OBJECTS = {
    "2024/shoes/1.jpg": b"x" * 10,
    "2024/shoes/2é.jpg": b"x" * 20,
    "2024/hats/3.png": b"x" * 30,
    "2024/hats/empty.png": b"",
    "2024/hats/": b"",
    "2024/table.csv": TABLE.encode(),
    "2025/4.jpg": b"x",
}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        server.bucket("photos")
        for key, data in OBJECTS.items():
            server.put("photos", key, data)
        yield server


class Listed:
    def __init__(self, entries: list[Entry], skipped: dict[str, int]) -> None:
        self.entries = entries
        self.skipped = skipped
        self.items = {each.key: each for each in entries if isinstance(each, Item)}


@pytest.fixture
def listing(s3: S3Server, tmp_path: Path) -> Any:
    secrets = keys_of_s3(tmp_path / "secrets")

    async def gather(spec: SourceSpec) -> Listed:
        fetcher = ImageFetcher(FetchPolicy())
        try:
            source = open_source(spec, FIELDS, tmp_path, for_sources(fetcher), secrets)
            entries = [entry async for entry in source.list()]
            return Listed(entries, dict(source.skipped.counts))
        finally:
            await fetcher.close()

    def listed(metadata: dict[str, Any] | None = None, **given: Any) -> Listed:
        bucket = {"bucket": "photos", "endpoint": s3.url, "credentialsSecretRef": "keys", **given}
        spec = {"name": "cloud", "s3": bucket, "metadata": metadata or {}}
        return asyncio.run(gather(SourceSpec.model_validate(spec)))

    return listed


def test_paths_are_told_from_the_prefixs_folder(listing: Any) -> None:
    assert set(listing(prefix="2024/").items) == {"shoes/1.jpg", "shoes/2é.jpg", "hats/3.png"}
    assert set(listing(prefix="2024/sh").items) == {"shoes/1.jpg", "shoes/2é.jpg"}
    assert set(listing(prefix="2024/", glob="*/*.png").items) == {"hats/3.png"}
    assert set(listing(startAfter="2024/shoes/2é.jpg").items) == {"2025/4.jpg"}
    assert listing(prefix="2024/").skipped == {
        "has no bytes": 1,
        ".csv is no name of an image: if it is one, rename it": 1,
    }


def test_sizes_and_times_have_bounds_and_what_is_outside_stays(listing: Any) -> None:
    found = listing(prefix="2024/shoes/", minBytes=11)
    assert set(found.items) == {"2é.jpg"}
    assert found.skipped == {"is smaller than minBytes (11)": 1}
    assert [type(each) for each in found.entries] == [LeftOut, Item]
    found = listing(prefix="2024/shoes/", maxBytes=19)
    assert (set(found.items), found.skipped) == ({"1.jpg"}, {"is larger than maxBytes (19)": 1})
    assert not listing(modifiedBefore="2001-01-01T00:00:00Z").items
    assert not listing(modifiedAfter="2101-01-01T00:00:00+02:00").items
    assert len(listing(modifiedAfter="2001-01-01T00:00:00Z").items) == 4


def test_a_table_in_the_bucket_paths_and_facts_are_metadata(listing: Any) -> None:
    mapping = {"file": "table.csv", "pathPattern": "{kind}/*.*", "fileInfo": True}
    found = listing(mapping, prefix="2024/")
    metadata = found.items["shoes/2é.jpg"].metadata
    assert (metadata["price"], metadata["kind"]) == (4, "shoes")
    facts = metadata["file"]
    assert (facts["folder"], facts["bytes"]) == ("shoes", 20)
    assert facts["modified_at"].endswith("Z")
    told = [each.told() for each in found.entries if isinstance(each, ByCause)]
    assert len(told) == 1
    assert "shoes/none.jpg" in told[0]


def test_a_table_that_is_not_there_is_the_sources_failure(listing: Any) -> None:
    with pytest.raises(SourceError, match=r"metadata\.file none\.csv: there is no object s3://"):
        listing({"file": "none.csv"}, prefix="2024/")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-05-01T12:00:00Z", "2024-05-01T12:00:00Z"),
        ("2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00Z"),
        ('"2024-05-01T12:00:00Z"', "2024-05-01T12:00:00Z"),
        ("2024-05-01T12:00:00", None),
        ("2024-05-01", None),
        ("yesterday", None),
    ],
)
def test_times_in_yaml(written: str, read: str | None) -> None:
    loaded = load_resources(
        "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: { name: a }\nspec:\n"
        f"  sources: [{{ name: a, s3: {{ bucket: photos, modifiedAfter: {written} }} }}]\n"
    )
    if read is None:
        (problem,) = loaded.errors
        assert problem.path == "spec.sources[0].s3.modifiedAfter"
        assert "2026-01-31T12:00:00Z" in problem.message
    else:
        (collection,) = loaded.collections
        assert collection.spec.sources[0].s3 is not None
        assert collection.spec.sources[0].s3.modified_after == read
