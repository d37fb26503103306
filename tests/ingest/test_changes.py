"""Objects and files that change while the service runs: told, looked at, and in or gone."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.configs import retriever
from tests.support.object_store import S3Server, keys_of_s3

from lookalike_crds.config import CollectionSources, IndexConfig
from lookalike_crds.failures import BUCKET_UNREACHABLE
from lookalike_crds.image_collection import Engine
from lookalike_crds.sources import SourceSpec, buckets_of
from lookalike_serving.images.buckets import BucketError
from lookalike_serving.images.buckets.service_store import ServiceStore
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run

from .conftest import Place

Photo = Callable[[int], bytes]


@dataclass
class Shop:
    """A collection whose images are in a bucket, whose events a server takes."""

    place: Place
    s3: S3Server
    bucket: str
    source: dict[str, Any]

    def put(self, key: str, data: bytes) -> None:
        self.s3.put(self.bucket, key, data)

    def delete(self, key: str) -> None:
        self.s3.client.delete_object(Bucket=self.bucket, Key=key)

    def tell(self, *keys: str, name: str = "ObjectCreated:Put") -> httpx.Response:
        """The notification of S3, which writes keys as a form does."""
        records = [
            {
                "eventName": name,
                "s3": {"bucket": {"name": self.bucket}, "object": {"key": key}},
            }
            for key in keys
        ]
        return self.post({"Records": records})

    def post(self, event: Any, **headers: str) -> httpx.Response:
        given = {"content-type": "application/json", **headers}
        url = f"{self.place.url}/v1/collections/shop/events"
        return httpx.post(url, content=json.dumps(event), headers=given, timeout=30)

    def settled(self) -> dict[str, dict[str, Any]]:
        """The documents once nothing waits any more."""
        deadline = time.monotonic() + 60
        while True:
            status = self.get("/events").json()
            if status["waiting"] == 0:
                return self.place.documents()
            assert time.monotonic() < deadline, status
            time.sleep(0.05)

    def metadata(self) -> dict[str, Any]:
        """Of the documents once nothing waits any more."""
        return {name: each["metadata"] for name, each in self.settled().items()}

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.place.url}/v1/collections/shop{path}")

    def run(self) -> dict[str, Any]:
        """The newest record of a run over changes, once it has ended."""
        deadline = time.monotonic() + 60
        while True:
            runs = self.get("/runs").json()["items"]
            found = [each for each in runs if each["of_changes"]]
            if found and found[0]["state"].startswith("COMPLETED"):
                return dict(found[0])
            assert time.monotonic() < deadline, runs
            time.sleep(0.1)

    def serve(self, **more: Any) -> None:
        """With these settings of the source."""
        self.source = {**self.source, **more}
        secrets = self.place.folder / "secrets"
        spec = SourceSpec.model_validate(self.source)
        followed = CollectionSources(collection="shop", sources=(spec,), secrets_dir=secrets)
        self.place.restart(
            buckets=buckets_of((spec,), secrets),
            sources=(followed,),
            retrievers=(retriever("find", "shop"),),
        )


@pytest.fixture
def shop(s3: S3Server, place: Place, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    name = request.node.name.partition("[")[0].replace("_", "-")[:60]
    keys_of_s3(tmp_path / "secrets")
    named = {"bucket": s3.bucket(name), "endpoint": s3.url, "credentialsSecretRef": "keys"}
    source = {"name": "cloud", "s3": {**named, "prefix": "in/"}, "deleteMissing": True}
    made = Shop(place, s3, name, source)
    made.place.shop_sources = ("cloud",)  # type: ignore[attr-defined]
    made.serve()
    return made


@pytest.fixture
def photo(tmp_path: Path, paint: Callable[..., Path]) -> Photo:
    def made(number: int) -> bytes:
        return paint(tmp_path / f"{number}.jpg", number).read_bytes()

    return made


def test_objects_come_change_and_go_by_their_own_state(shop: Shop, photo: Photo) -> None:
    shop.put("in/a b.jpg", photo(1))
    shop.put("in/c.jpg", photo(2))
    shop.put("out/d.jpg", photo(3))
    answer = shop.tell("in/a+b.jpg", "in/c.jpg", "in/c.jpg", "out/d.jpg", "in/none.jpg")
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 3
    [ignored] = answer.json()["ignored"]
    assert "prefix" in ignored["cause"]
    assert ignored["count"] == 1
    first = shop.settled()
    assert sorted(first) == ["a b.jpg", "c.jpg"]

    # Late and reordered: the object was made again, and its removal is told afterwards.
    shop.put("in/c.jpg", photo(4))
    shop.tell("in/c.jpg", name="ObjectRemoved:Delete")
    second = shop.settled()
    assert sorted(second) == ["a b.jpg", "c.jpg"]
    assert second["c.jpg"]["updated_at"] > first["c.jpg"]["updated_at"]
    assert second["a b.jpg"] == first["a b.jpg"]

    shop.delete("in/c.jpg")
    shop.tell("in/c.jpg")  # told as made: it is gone all the same
    assert sorted(shop.settled()) == ["a b.jpg"]


def test_books_tombstones_and_failures_hold(shop: Shop, photo: Photo) -> None:
    shop.put("in/a.jpg", photo(1))
    shop.put("in/bad.jpg", b"no picture")
    shop.put("in/notes.txt", b"text")
    shop.tell("in/a.jpg", "in/bad.jpg", "in/notes.txt")
    assert sorted(shop.settled()) == ["a.jpg"]
    [failure] = shop.get("/failures").json()["items"]
    assert failure["key"] == "bad.jpg"

    assert httpx.delete(f"{shop.place.url}/v1/collections/shop/documents/a.jpg").status_code == 204
    shop.tell("in/a.jpg")
    assert shop.settled() == {}  # deleted by somebody: it stays away until its object changes
    shop.put("in/a.jpg", photo(2))
    shop.put("in/bad.jpg", photo(3))
    shop.tell("in/a.jpg", "in/bad.jpg")
    assert sorted(shop.settled()) == ["a.jpg", "bad.jpg"]
    assert shop.get("/failures").json()["items"] == []
    assert shop.get("/deletions").json()["items"] == []
    balance = shop.run()["balance"]
    assert balance["listed"] == 6
    parts = ("new", "updated", "unchanged", "skipped", "failed")
    assert {name: balance[name] for name in parts} == {
        "new": 3,
        "updated": 0,
        "unchanged": 0,
        "skipped": 2,
        "failed": 1,
    }
    # A run that lists finds nothing to do: versions are told alike.
    progress = shop.place.ingest(shop.source)
    assert progress.total.unchanged == 2
    assert progress.total.new == progress.total.updated == 0


def test_what_was_accepted_outlives_a_restart(shop: Shop, photo: Photo) -> None:
    shop.put("in/a.jpg", photo(1))
    working = shop.source["s3"]["endpoint"]
    shop.serve(s3={**shop.source["s3"], "endpoint": "http://127.0.0.1:9"})  # nobody answers there
    assert shop.tell("in/a.jpg").json()["accepted"] == 1
    assert shop.get("/events").json()["waiting"] == 1
    shop.serve(s3={**shop.source["s3"], "endpoint": working})
    assert sorted(shop.settled()) == ["a.jpg"]


def test_a_key_that_was_looked_at_during_a_run_is_looked_at_after_it(
    shop: Shop, photo: Photo, tmp_path: Path
) -> None:
    for number in range(4):
        shop.put(f"in/{number}.jpg", photo(number))
    shop.place.door.close_after(0)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(shop.place.ingest, shop.source)
        deadline = time.monotonic() + 60
        while shop.get("/runs").json()["items"] == []:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)  # it has listed, and its writes stand before the door
        shop.delete("in/1.jpg")
        shop.put("in/new.jpg", photo(9))
        shop.tell("in/1.jpg", "in/new.jpg")
        deadline = time.monotonic() + 60
        while "new.jpg" not in shop.place.documents():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert shop.get("/events").json()["waiting"] == 2
        shop.place.door.open()
        running.result()
    assert sorted(shop.settled()) == ["0.jpg", "2.jpg", "3.jpg", "new.jpg"]


def test_a_watched_folder_is_followed(place: Place, photo: Photo, tmp_path: Path) -> None:
    source = {
        "name": "disk",
        "volume": {"path": str(place.images), "watch": True},
        "deleteMissing": True,
        "metadata": {"file": "rows.csv"},
    }
    spec = SourceSpec.model_validate(source)
    place.restart(sources=(CollectionSources(collection="shop", sources=(spec,)),))

    def until(*ids: str, **prices: float) -> dict[str, dict[str, Any]]:
        deadline = time.monotonic() + 60
        while True:
            found = place.documents()
            got = {name: each["metadata"].get("price") for name, each in found.items()}
            if sorted(got) == sorted(ids) and prices.items() <= got.items():
                return found
            assert time.monotonic() < deadline, got
            time.sleep(0.1)

    (place.images / "rows.csv").write_text("file,price\na.jpg,3\n")
    with (place.images / "a.jpg").open("wb") as slow:  # half of it is no picture yet
        data = photo(1)
        slow.write(data[: len(data) // 2])
        slow.flush()
        time.sleep(1)
        slow.write(data[len(data) // 2 :])
    (place.images / "deep").mkdir()
    for number in range(20):
        (place.images / "deep" / f"{number}.jpg").write_bytes(photo(number))
    (place.images / ".hidden.jpg").write_bytes(photo(1))
    below = [f"deep/{number}.jpg" for number in range(20)]
    until("a.jpg", *below, **{"a.jpg": 3})

    (place.images / "rows.csv").write_text("file,price\na.jpg,4\n")  # a row alone has changed
    until("a.jpg", *below, **{"a.jpg": 4})
    (place.images / "deep").rename(place.images / "moved")
    (place.images / "a.jpg").rename(place.images / "b.jpg")
    until("b.jpg", *(name.replace("deep", "moved") for name in below))

    outside = tmp_path / "outside"
    (place.images / "moved").rename(outside)
    (place.images / "b.jpg").unlink()
    (place.images / "rows.csv").unlink()
    # An empty folder is what a disk looks like that is not mounted.
    status = f"{place.url}/v1/collections/shop/events"
    deadline = time.monotonic() + 60
    while "is empty" not in str(httpx.get(status).json()["problem"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert place.documents()


def test_an_id_stays_with_the_image_that_has_it(shop: Shop, photo: Photo) -> None:
    shop.serve(metadata={"pathPattern": "{folder}/{id}.*", "documentId": "id"})
    shop.put("in/a/1.jpg", photo(1))
    shop.tell("in/a/1.jpg")
    first = shop.settled()
    shop.put("in/b/1.jpg", photo(2))
    shop.tell("in/b/1.jpg")
    assert shop.settled() == first
    [failure] = shop.get("/failures").json()["items"]
    assert (failure["key"], failure["code"]) == ("b/1.jpg", "entry-id-taken")
    # Trying the failure again looks at it alone, and finds the same.
    with ProgressWriter(shop.place.folder / "progress.json", "shop") as writer:
        asyncio.run(run(shop.place.config(shop.source), writer, only_failed=True))
    assert shop.place.progress().total.failed == 1
    assert shop.place.documents() == first
    # The image that has moved takes its id along.
    shop.delete("in/a/1.jpg")
    shop.tell("in/b/1.jpg")
    [document] = shop.settled().values()
    assert document["metadata"] == {"folder": "b"}
    assert shop.get("/failures").json()["items"] == []


def test_rows_and_tags_are_read_again_without_a_run(shop: Shop, photo: Photo) -> None:
    shop.serve(metadata={"file": "rows.csv", "tags": True})
    for name in ("a", "b"):
        shop.put(f"in/{name}.jpg", photo(ord(name)))
    shop.put("in/rows.csv", b"file,price\na.jpg,3\n")
    shop.tell("in/a.jpg", "in/b.jpg")
    assert shop.metadata() == {"a.jpg": {"price": 3}, "b.jpg": {}}
    shop.put("in/rows.csv", b"file,price\nb.jpg,4\n")
    shop.delete("in/a.jpg")
    shop.tell("in/rows.csv", "in/a.jpg")
    assert shop.metadata() == {"b.jpg": {"price": 4}}

    tags = {"TagSet": [{"Key": "status", "Value": "sold"}]}
    shop.s3.client.put_object_tagging(Bucket=shop.bucket, Key="in/b.jpg", Tagging=tags)
    shop.tell("in/b.jpg", name="ObjectTagging:Put")
    [document] = shop.settled().values()
    assert document["metadata"] == {"price": 4, "status": "sold"}
    assert shop.place.ingest(shop.source).total.unchanged == 1


def test_an_image_that_cannot_be_read_for_a_moment_is_tried_again(
    shop: Shop, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, attempts = ServiceStore.read, []

    async def failing(self: ServiceStore, key: str, most: int) -> bytes:
        attempts.append(key)
        if len(attempts) < 3:
            raise BucketError("the service does not answer", BUCKET_UNREACHABLE)
        return await read(self, key, most)

    monkeypatch.setattr(ServiceStore, "read", failing)
    shop.put("in/a.jpg", photo(1))
    shop.put("in/bad.jpg", b"no picture")
    shop.tell("in/a.jpg")
    assert sorted(shop.settled()) == ["a.jpg"]
    assert len(attempts) == 3
    assert shop.get("/failures").json()["items"] == []
    shop.tell("in/bad.jpg")  # another attempt would be in vain
    assert sorted(shop.settled()) == ["a.jpg"]
    assert len(attempts) == 4


@pytest.mark.qdrant
def test_changes_reach_an_index_on_a_qdrant_server(shop: Shop, photo: Photo) -> None:
    name = f"events-{uuid.uuid4().hex[:12]}"
    url = os.environ.get("LOOKALIKE_QDRANT_URL") or ":memory:"
    place = shop.place
    index = IndexConfig(engine=Engine.QDRANT, name=name, url=url, grpc_port=None)
    place.collection = place.collection.model_copy(update={"index": index})
    place.serving = place.serving.model_copy(update={"collections": (place.collection,)})
    shop.serve()
    shop.put("in/a.jpg", photo(1))
    shop.put("in/b.jpg", photo(2))
    shop.tell("in/a.jpg", "in/b.jpg")
    assert sorted(shop.settled()) == ["a.jpg", "b.jpg"]
    shop.delete("in/a.jpg")
    shop.tell("in/a.jpg")
    assert sorted(shop.settled()) == ["b.jpg"]
    if url != ":memory:":
        httpx.delete(f"{url}/collections/{name}").raise_for_status()
