"""Images in buckets of a real S3 server: in by ingestion, out as pictures, found by address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.configs import retriever
from tests.support.object_store import S3Server, keys_of_s3

from lookalike_crds.buckets import Bucket
from lookalike_crds.progress import Progress, RunState

from .conftest import Place


@dataclass
class Shop:
    """A collection whose images are in a bucket of its own."""

    place: Place
    s3: S3Server
    bucket: str

    def source(self, **more: Any) -> dict[str, Any]:
        metadata = more.pop("metadata", {})
        missing = more.pop("deleteMissing", False)
        named = {"bucket": self.bucket, "endpoint": self.s3.url, "credentialsSecretRef": "keys"}
        return {
            "name": "cloud",
            "s3": {**named, **more},
            "metadata": metadata,
            "deleteMissing": missing,
        }

    def ingest(self, **more: Any) -> Progress:
        return self.place.ingest(self.source(**more))

    def put(self, key: str, data: bytes, **more: Any) -> None:
        self.s3.put(self.bucket, key, data, **more)

    def address(self, key: str) -> str:
        return f"s3://{self.bucket}@{self.s3.url.removeprefix('http://')}/{key}"

    def nearest(self, image: str) -> httpx.Response:
        query = {"queries": [{"type": "image", "value": image}]}
        return httpx.post(f"{self.place.url}/v1/retrievers/find/search", json=query)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.place.url}/v1/collections/shop{path}")


@pytest.fixture
def shop(s3: S3Server, place: Place, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    name = request.node.name.partition("[")[0].replace("_", "-")[:60]
    secrets = keys_of_s3(tmp_path / "secrets")
    made = Shop(place, s3, s3.bucket(name))
    bucket = Bucket(scheme="s3", name=name, endpoint=s3.url, credentials=secrets / "keys")
    place.restart(buckets=(bucket,), retrievers=(retriever("find", "shop"),))
    return made


@pytest.fixture
def photo(tmp_path: Path, paint: Callable[..., Path]) -> Callable[[int], bytes]:
    def made(number: int) -> bytes:
        return paint(tmp_path / f"{number}.jpg", number).read_bytes()

    return made


def test_from_listing_to_the_picture_on_the_page(shop: Shop, photo: Callable[[int], bytes]) -> None:
    pictures = {f"2024/shoe {n}é.jpg": photo(n) for n in range(3)}
    for key, data in pictures.items():
        shop.put(key, data)
    shop.put("2024/readme.txt", b"no image")
    progress = shop.ingest()
    assert progress.state is RunState.COMPLETED
    assert progress.total.new == 3
    assert set(shop.place.documents()) == set(pictures)
    document = "2024/shoe%201é.jpg"
    assert shop.get(f"/documents/{document}/image").content == pictures["2024/shoe 1é.jpg"]
    thumbnail = shop.get(f"/documents/{document}/thumbnail?size=64")
    assert thumbnail.headers["content-type"] == "image/webp"
    again = shop.ingest()
    assert (again.total.unchanged, again.total.new) == (3, 0)
    shop.put("2024/shoe 1é.jpg", photo(7))
    assert shop.ingest().total.updated == 1
    assert shop.get(f"/documents/{document}/thumbnail?size=64").content != thumbnail.content


def test_a_query_names_an_object_of_a_declared_bucket_and_of_no_other(
    shop: Shop, photo: Callable[[int], bytes]
) -> None:
    shop.put("a.jpg", photo(1))
    shop.put("b.jpg", photo(2))
    shop.ingest()
    assert shop.nearest(shop.address("a.jpg")).json()["results"][0]["document_id"] == "a.jpg"
    other = shop.s3.bucket("private-papers")
    shop.s3.put(other, "a.jpg", photo(3))
    for address in (
        f"s3://{other}@{shop.s3.url.removeprefix('http://')}/a.jpg",
        f"s3://{shop.bucket}/a.jpg",
        f"s3://{shop.bucket}@169.254.169.254/a.jpg",
    ):
        refused = shop.nearest(address)
        assert refused.status_code == 422
        assert "no bucket that a source declares" in refused.text


def test_an_object_that_went_is_deleted_and_one_that_was_archived_stays(
    shop: Shop, photo: Callable[[int], bytes]
) -> None:
    for name in ("gone", "cold", "here"):
        shop.put(f"{name}.jpg", photo(1 + len(name)))
    shop.ingest()
    shop.s3.client.delete_object(Bucket=shop.bucket, Key="gone.jpg")
    shop.put("cold.jpg", photo(8), StorageClass="GLACIER")
    progress = shop.ingest(deleteMissing=True)
    assert progress.total.deleted == 1
    assert set(shop.place.documents()) == {"cold.jpg", "here.jpg"}
    assert [(each.count, each.cause) for each in progress.skipped] == [
        (1, "is archived (GLACIER): restore it, or change its storage class")
    ]


def test_a_manifest_in_a_bucket_lists_objects_of_declared_buckets(
    shop: Shop, photo: Callable[[int], bytes]
) -> None:
    for number, key in enumerate(("lists/a?.jpg", "b.jpg", "own/c.jpg")):
        shop.put(key, photo(number))
    rows = [
        "url,id",
        "a?.jpg,a",
        "../b.jpg,b",
        f"{shop.address('own/c.jpg')},c",
        "s3://else/d.jpg,d",
    ]
    shop.put("lists/list.csv", "\n".join(rows).encode())
    listing = {
        "name": "listed",
        "urls": {"manifest": shop.address("lists/list.csv")},
        "metadata": {"documentId": "id"},
    }
    progress = shop.place.ingest(shop.source(glob="none"), listing)
    assert set(shop.place.documents()) == {"a", "b", "c"}
    assert [(each.example, each.code) for each in progress.failures] == [
        ("s3://else/d.jpg", "image-forbidden-path")
    ]


def test_a_manifest_in_a_bucket_that_no_source_lists_reads_its_own_folder(
    shop: Shop, photo: Callable[[int], bytes]
) -> None:
    for number, key in enumerate(("lists/a.jpg", "lists/deep/b.jpg", "c.jpg")):
        shop.put(key, photo(number))
    shop.put("lists/list.csv", b"url,id\na.jpg,a\ndeep/b.jpg,b\n../c.jpg,c\n")
    # With the service in the address or in its own field: the same address either way.
    urls = {
        "manifest": f"s3://{shop.bucket}/lists/list.csv",
        "endpoint": shop.s3.url,
        "credentialsSecretRef": "keys",
    }
    listing = {"name": "listed", "urls": urls, "metadata": {"documentId": "id"}}
    progress = shop.place.ingest(listing)
    assert set(shop.place.documents()) == {"a", "b"}
    [refused] = progress.failures
    assert (refused.example, refused.code) == ("../c.jpg", "image-forbidden-path")
    assert shop.get("/documents/a/image").content == photo(0)
    missing = {**listing, "urls": {**urls, "manifest": f"s3://{shop.bucket}/lists/none.csv"}}
    told = shop.place.ingest(missing).message or ""
    assert "source listed: the manifest: there is no object" in told


def test_a_bucket_that_does_not_exist_is_the_reason_of_the_run(shop: Shop) -> None:
    progress = shop.ingest(bucket="no-such-bucket")
    assert (progress.state, progress.reason) == (RunState.FAILED, "BucketNotFound")
    assert "no-such-bucket" in (progress.message or "")
