"""Containers of Azure's emulator: listing, bytes, and what is told when it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from tests.support.azurite import ACCOUNT, KEY, Azurite, azurite
from tests.support.object_store import write_secret

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import BUCKET_CREDENTIALS_REFUSED, BUCKET_NOT_FOUND
from lookalike_serving.images import ImageError
from lookalike_serving.images.buckets import BucketError, Buckets, LabelKinds, Listed, open_store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="module")
def photos(server: Azurite) -> str:
    store = server.container("photos")
    for name in ("2024/a.jpg", "2024/b é.jpg", "2025/c.jpg"):
        obstore.put(store, name, name.encode())
    return "photos"


def container(server: Azurite, name: str, tmp_path: Path, **secret: str) -> Bucket:
    given = secret or {"AZURE_STORAGE_ACCOUNT_KEY": KEY}
    folder = write_secret(tmp_path / "secrets", "blob", **given) / "blob"
    return Bucket(scheme="az", name=name, account=ACCOUNT, endpoint=server.url, credentials=folder)


async def listed(where: Bucket, prefix: str = "", after: str | None = None) -> list[Listed]:
    return [each async for page in open_store(where).list(prefix, after) for each in page]


async def test_listing_and_bytes(server: Azurite, photos: str, tmp_path: Path) -> None:
    where = container(server, photos, tmp_path)
    found = await listed(where)
    assert [(each.key, each.bytes) for each in found] == [
        ("2024/a.jpg", 10),
        ("2024/b é.jpg", 13),
        ("2025/c.jpg", 10),
    ]
    assert [each.key for each in await listed(where, "2024/b")] == ["2024/b é.jpg"]
    assert [each.key for each in await listed(where, "", "2024/b é.jpg")] == ["2025/c.jpg"]
    reader = Buckets([where], 100)
    address = where.address("2024/b é.jpg")
    assert address == f"az://photos@{ACCOUNT}/2024/b%20é.jpg"
    assert await reader.read(address) == "2024/b é.jpg".encode()
    store = open_store(where)
    assert await store.read_range("2024/a.jpg", 5, 3) == b"a.j"
    assert [await store.look(each.key) for each in found] == found
    assert await store.look("none.jpg") is None


async def test_a_blob_in_the_archive_tier_says_so(server: Azurite, tmp_path: Path) -> None:
    obstore.put(server.container("attic"), "old.jpg", b"x")
    server.archive("attic", "old.jpg")
    where = container(server, "attic", tmp_path)
    with pytest.raises(ImageError) as refused:
        await Buckets([where], 100).read(where.address("old.jpg"))
    assert refused.value.code == "archived"
    [found] = await listed(where)
    assert found.archived == "Archive"
    assert await open_store(where).look("old.jpg") == found


async def test_what_the_service_refuses_says_what_to_do(
    server: Azurite, photos: str, tmp_path: Path
) -> None:
    other = "A" * 86 + "=="
    for where, kind, told in (
        (container(server, "none-such", tmp_path / "a"), BUCKET_NOT_FOUND, "container's name"),
        (
            container(server, photos, tmp_path / "b", AZURE_STORAGE_ACCOUNT_KEY=other),
            BUCKET_CREDENTIALS_REFUSED,
            "Secret blob: correct them; what is read is AZURE_STORAGE_ACCOUNT_KEY or",
        ),
        (
            container(server, photos, tmp_path / "c", PASSWORD="x"),
            BUCKET_CREDENTIALS_REFUSED,
            "Secret blob: AZURE_STORAGE_ACCOUNT_KEY or",
        ),
        (
            container(server, photos, tmp_path / "d", AZURE_STORAGE_ACCOUNT_KEY="no base64!"),
            BUCKET_CREDENTIALS_REFUSED,
            "Secret blob: correct them",
        ),
    ):
        with pytest.raises(BucketError, match=told) as refused:
            await listed(where)
        assert refused.value.failure_kind is kind
        assert "\n" not in str(refused.value)


async def test_names_that_are_no_paths_are_listed_and_read(server: Azurite, tmp_path: Path) -> None:
    server.put("odd", "a//b.jpg", b"0123456789")
    where = container(server, "odd", tmp_path)
    assert [each.key for each in await listed(where)] == ["a//b.jpg"]
    store = open_store(where)
    assert await store.read("a//b.jpg", 100) == b"0123456789"
    assert await store.read_range("a//b.jpg", 3, 3) == b"345"
    assert await store.size("a//b.jpg") == 10
    assert [await store.look("a//b.jpg")] == await listed(where)
    with pytest.raises(ImageError, match="more than the limit"):
        await store.read("a//b.jpg", 7)
    with pytest.raises(ImageError, match="there is no object"):
        await store.read("a//none.jpg", 7)


async def test_metadata_and_tags_are_told_by_a_listing_and_of_one_blob(
    server: Azurite, tmp_path: Path
) -> None:
    server.put("labelled", "a.jpg", b"x", **{"meta-colour": "red", "tags": "size=9&colour=blue"})
    where = container(server, "labelled", tmp_path)
    for kinds, labels in (
        (LabelKinds(user_metadata=True), {"colour": "red"}),
        (LabelKinds(tags=True), {"size": "9", "colour": "blue"}),
        (LabelKinds(user_metadata=True, tags=True), {"size": "9", "colour": "blue"}),
    ):
        store = open_store(where, kinds)
        [page] = [page async for page in store.list("")]
        assert page[0].labels == labels
        assert await store.labels("a.jpg") == labels
