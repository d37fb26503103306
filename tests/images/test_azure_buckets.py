"""Containers of Azure's emulator: listing, bytes, and what is told when it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from tests.support.azurite import ACCOUNT, KEY, Azurite, azurite
from tests.support.object_store import write_secret

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import (
    BUCKET_CREDENTIALS_REFUSED,
    BUCKET_NOT_FOUND,
    SOURCES_UNREADABLE,
)
from lookalike_serving.images import ImageError
from lookalike_serving.images.buckets import BucketError, Buckets, Listed, open_store


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


async def test_a_key_that_cannot_be_read_is_named(server: Azurite, tmp_path: Path) -> None:
    server.put("odd", "a//b.jpg", b"x")
    with pytest.raises(BucketError, match=r"\(a//b\.jpg\).*[Rr]ename") as refused:
        await listed(container(server, "odd", tmp_path))
    assert refused.value.failure_kind is SOURCES_UNREADABLE
