"""The client of Google Cloud Storage, against fake-gcs-server.

What a signed request of Google's looks like is its client's own matter; here requests are unsigned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.fake_gcs import FakeGcs, fake_gcs
from tests.support.object_store import write_secret

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import BUCKET_CREDENTIALS_REFUSED
from lookalike_serving.images import ImageError
from lookalike_serving.images.buckets import BucketError, Buckets, LabelKinds, open_store


@pytest.fixture(scope="module")
def server() -> Iterator[FakeGcs]:
    with fake_gcs() as running:
        running.bucket("photos")
        for key in ("2024/a.jpg", "2024/b é?.jpg", "2025/c.jpg"):
            running.put("photos", key, key.encode())
        yield running


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)


async def keys(where: Bucket, prefix: str = "", after: str | None = None) -> list[str]:
    return [each.key async for page in open_store(where).list(prefix, after) for each in page]


async def test_listing_and_bytes(server: FakeGcs) -> None:
    where = Bucket(scheme="gs", name="photos", endpoint=server.url)
    assert await keys(where) == ["2024/a.jpg", "2024/b é?.jpg", "2025/c.jpg"]
    assert await keys(where, "2024/b") == ["2024/b é?.jpg"]
    assert await keys(where, "", "2024/b é?.jpg") == ["2025/c.jpg"]
    reader = Buckets([where], 100)
    address = where.address("2024/b é?.jpg")
    assert await reader.read(address) == "2024/b é?.jpg".encode()
    store = open_store(where)
    assert await store.size("2024/a.jpg") == 10
    assert await store.read_range("2024/a.jpg", 5, 3) == b"a.j"
    found = [each async for page in store.list("") for each in page]
    looked = [await store.look(each.key) for each in found]
    assert [each and each.version for each in looked] == [each.version for each in found]
    assert await store.look("none.jpg") is None
    with pytest.raises(ImageError, match="there is no object") as refused:
        await reader.read(where.address("none.jpg"))
    assert refused.value.code == "not_found"


async def test_an_object_has_another_version_once_it_has_changed(server: FakeGcs) -> None:
    where = Bucket(scheme="gs", name=server.bucket("changing"), endpoint=server.url)
    versions = []
    for data in (b"one", b"two", b"two"):
        server.put("changing", "a.jpg", data)
        [page] = [page async for page in open_store(where).list("")]
        versions.append(page[0].version)
    assert versions[0] != versions[1] == versions[2]


async def test_keys_that_are_no_paths_are_listed_and_read(server: FakeGcs) -> None:
    where = Bucket(scheme="gs", name=server.bucket("odd"), endpoint=server.url)
    for key in ("a//b.jpg", "a/c.jpg"):
        server.put("odd", key, key.encode())
    assert await keys(where) == ["a//b.jpg", "a/c.jpg"]
    store = open_store(where)
    assert await store.read("a//b.jpg", 100) == b"a//b.jpg"
    assert await store.read_range("a//b.jpg", 3, 3) == b"b.j"
    assert await store.size("a//b.jpg") == 8
    found = await store.look("a//b.jpg")
    assert found is not None
    with pytest.raises(ImageError, match="more than the limit"):
        await store.read("a//b.jpg", 7)
    with pytest.raises(ImageError, match="there is no object"):
        await store.read("a//none.jpg", 7)


async def test_user_metadata_is_told_by_a_listing_and_of_one_object(server: FakeGcs) -> None:
    where = Bucket(scheme="gs", name=server.bucket("labelled"), endpoint=server.url)
    server.put("labelled", "a.jpg", b"x", colour="red")
    server.put("labelled", "b.jpg", b"x")
    store = open_store(where, LabelKinds(user_metadata=True))
    [page] = [page async for page in store.list("")]
    assert [each.labels for each in page] == [{"colour": "red"}, {}]
    assert await store.labels("a.jpg") == {"colour": "red"}
    assert await store.look("a.jpg") == page[0]
    [plain] = [page async for page in open_store(where).list("")]
    assert [each.labels for each in plain] == [None, None]


async def test_what_is_wrong_says_what_to_do(server: FakeGcs, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    write_secret(folder, "empty", PASSWORD="x")
    write_secret(folder, "broken", **{"key.json": json.dumps({"type": "service_account"})})
    for secret, told in (
        ("empty", "Secret empty: GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("broken", "Secret broken: correct them"),
    ):
        credentials = folder / secret
        where = Bucket(scheme="gs", name="photos", endpoint=server.url, credentials=credentials)
        with pytest.raises(BucketError, match=told) as refused:
            await keys(where)
        assert refused.value.failure_kind is BUCKET_CREDENTIALS_REFUSED
        assert "\n" not in str(refused.value)
