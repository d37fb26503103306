"""The client of Google Cloud Storage, against a server of the XML interface that it shares with S3.

What a signed request of Google's looks like is its client's own matter; here requests are unsigned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.object_store import S3Server, s3_server, write_secret

from lookalike_crds.buckets import Bucket
from lookalike_crds.failures import BUCKET_CREDENTIALS_REFUSED, BUCKET_NOT_FOUND
from lookalike_serving.images.buckets import BucketError, Buckets, open_store


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        running.bucket("photos")
        for key in ("2024/a.jpg", "2024/b.jpg", "2025/c.jpg"):
            running.put("photos", key, key.encode(), ACL="public-read")
        yield running


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)


async def keys(where: Bucket, prefix: str = "") -> list[str]:
    return [each.key async for page in open_store(where).list(prefix) for each in page]


async def test_listing_and_bytes(server: S3Server) -> None:
    where = Bucket(scheme="gs", name="photos", endpoint=server.url)
    assert await keys(where) == ["2024/a.jpg", "2024/b.jpg", "2025/c.jpg"]
    assert await keys(where, "2024/b") == ["2024/b.jpg"]
    assert await Buckets([where], 100).read(where.address("2024/b.jpg")) == b"2024/b.jpg"


async def test_what_is_wrong_says_what_to_do(server: S3Server, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    write_secret(folder, "empty", PASSWORD="x")
    write_secret(folder, "broken", **{"key.json": json.dumps({"type": "service_account"})})
    for name, secret, kind, told in (
        ("no-such-bucket", None, BUCKET_NOT_FOUND, "correct the bucket's name"),
        ("photos", "empty", BUCKET_CREDENTIALS_REFUSED, "Secret empty: GOOGLE_SERVICE_ACCOUNT_KEY"),
        ("photos", "broken", BUCKET_CREDENTIALS_REFUSED, "Secret broken: correct them"),
    ):
        credentials = None if secret is None else folder / secret
        where = Bucket(scheme="gs", name=name, endpoint=server.url, credentials=credentials)
        with pytest.raises(BucketError, match=told) as refused:
            await keys(where)
        assert refused.value.failure_kind is kind
        assert "\n" not in str(refused.value)
