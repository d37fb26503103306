"""User metadata and tags of objects as metadata of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.fake_gcs import FakeGcs, fake_gcs
from tests.support.object_store import S3Server, keys_of_s3

from lookalike_crds.progress import Progress
from lookalike_serving.images.buckets import s3 as client

from .conftest import Place

Photo = Callable[[int], bytes]


@dataclass
class Shop:
    """A collection whose images are in a bucket of its own."""

    place: Place
    s3: S3Server
    bucket: str

    def source(self, **metadata: Any) -> dict[str, Any]:
        named = {"bucket": self.bucket, "endpoint": self.s3.url, "credentialsSecretRef": "keys"}
        asked = {"userMetadata": True, "tags": True, **metadata}
        return {"name": "cloud", "s3": named, "metadata": asked}

    def ingest(self, **metadata: Any) -> Progress:
        return self.place.ingest(self.source(**metadata))

    def put(self, key: str, data: bytes, tags: str = "", **user_metadata: str) -> None:
        self.s3.put(self.bucket, key, data, Metadata=user_metadata, Tagging=tags)

    def metadata(self) -> dict[str, Any]:
        return {name: each["metadata"] for name, each in self.place.documents().items()}


@pytest.fixture
def shop(s3: S3Server, place: Place, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    name = request.node.name.partition("[")[0].replace("_", "-")[:60]
    keys_of_s3(tmp_path / "secrets")
    return Shop(place, s3, s3.bucket(name))


@pytest.fixture
def photo(tmp_path: Path, paint: Callable[..., Path]) -> Photo:
    return lambda number: paint(tmp_path / f"{number}.jpg", number).read_bytes()


@dataclass
class Calls:
    """How often the S3 server was asked for what no listing tells."""

    heads: int = 0
    labels: int = 0


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    counted = Calls()
    labels, head = client._Client.labels, client._Client.head

    def asked(self: Any, key: str) -> Any:
        counted.labels += 1
        return labels(self, key)

    def looked(self: Any, key: str) -> Any:
        counted.heads += 1
        return head(self, key)

    monkeypatch.setattr(client._Client, "labels", asked)
    monkeypatch.setattr(client._Client, "head", looked)
    return counted


def test_labels_are_typed_and_have_their_place(shop: Shop, photo: Photo) -> None:
    shop.put("new/a.jpg", photo(1), "status=sold&price=7.5&colour=red", stock="3", price="1")
    shop.put("new/b.jpg", photo(2), "", stock="many", status="kept", kind="own")
    shop.put("rows.csv", b"file,status\nnew/b.jpg,from the row\n")
    constants = {"shop": "north", "stock": 0, "status": "constant"}
    mapping = {"constants": constants, "pathPattern": "{kind}/*", "file": "rows.csv"}
    progress = shop.ingest(**mapping)
    assert progress.total.new == 2
    assert shop.metadata() == {
        # A tag comes before user metadata, both before constants; types are those of the fields.
        "new/a.jpg": {
            "shop": "north",
            "kind": "new",
            "status": "sold",
            "price": 7.5,
            "stock": 3,
            "colour": "red",
        },
        # A row comes before them; they come before a part of the path; what does not fit is lost.
        "new/b.jpg": {"shop": "north", "kind": "own", "status": "from the row", "stock": 0},
    }
    lost = [each for each in progress.warnings if "'stock'" in each.cause]
    assert [(each.count, each.example) for each in lost] == [(1, 'new/b.jpg: "many"')]


def test_a_rerun_asks_for_no_labels_and_reads_nothing(
    shop: Shop, photo: Photo, calls: Calls
) -> None:
    for number in range(3):
        shop.put(f"{number}.jpg", photo(number), "status=new", stock="1")
    shop.ingest(userMetadata=False, tags=False)
    assert calls == Calls()
    before = shop.place.documents()

    # Asked for later: no image is embedded again.
    labelled = shop.ingest()
    assert (labelled.total.updated, labelled.bytes) == (3, 0)
    assert calls == Calls(labels=3)
    assert set(map(str, shop.metadata().values())) == {"{'stock': 1, 'status': 'new'}"}
    assert shop.ingest().total.unchanged == 3
    assert calls == Calls(labels=3)

    # A row that changes needs no call, since the labels are kept with the document.
    assert shop.ingest(constants={"shop": "north"}).total.updated == 3
    assert calls == Calls(labels=3)
    assert shop.metadata()["1.jpg"] == {"shop": "north", "stock": 1, "status": "new"}

    # Not asked for any more.
    assert shop.ingest(userMetadata=False, tags=False).total.updated == 3
    assert shop.metadata() == {name: {} for name in before}


def test_a_value_that_does_not_fit_may_be_a_failure_or_leave_the_image_out(
    shop: Shop, photo: Photo
) -> None:
    shop.put("a.jpg", photo(1), "stock=many")
    progress = shop.ingest(onBadValue="Fail")
    [failure] = progress.failures
    assert failure.code == "entry-bad-metadata"
    assert "metadata.stock" in failure.cause
    progress = shop.ingest(onBadValue="Skip")
    assert (progress.total.skipped, progress.total.failed) == (1, 0)
    [skipped] = progress.skipped
    assert skipped.cause.startswith("left out, as metadata.onBadValue says: 'stock'")
    assert skipped.example == 'a.jpg: "many"'
    assert shop.metadata() == {}


@pytest.fixture(scope="module")
def google() -> Iterator[FakeGcs]:
    with fake_gcs() as running:
        yield running


def test_where_a_listing_tells_labels_a_run_sees_them_change(
    place: Place, google: FakeGcs, photo: Photo
) -> None:
    bucket = google.bucket("labels")
    google.put(bucket, "a.jpg", photo(1), status="new", stock="3")
    google.put(bucket, "b.jpg", photo(2))
    gcs = {"bucket": bucket, "endpoint": google.url}
    source = {"name": "cloud", "gcs": gcs, "metadata": {"userMetadata": True}}
    assert place.ingest(source).total.new == 2
    before = place.documents()
    assert before["a.jpg"]["metadata"] == {"status": "new", "stock": 3}
    google.describe(bucket, "b.jpg", status="sold")
    progress = place.ingest(source)
    assert (progress.total.updated, progress.total.unchanged) == (1, 1)
    assert progress.bytes == 0
    assert place.documents()["b.jpg"]["metadata"] == {"status": "sold"}
    assert place.ingest(source).total.unchanged == 2
