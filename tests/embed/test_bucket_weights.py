"""Weights that lie in a bucket, fetched from a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.object_store import KEY, SECRET, S3Server, s3_server

from lookalike_serving.embed.bucket_weights import fetched, in_bucket
from lookalike_serving.embed.protocol import ModelError, WeightsNotFound, WeightsUnreachable


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        server.bucket("models")
        server.put("models", "vit/tiny.safetensors", bytes(range(256)) * 14)
        yield server


@pytest.fixture
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr("lookalike_serving.embed.bucket_weights._PART", 1000)
    return monkeypatch


@pytest.mark.usefixtures("environment")
def test_a_file_is_fetched_in_parts_and_once(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    address = "s3://models/vit/tiny.safetensors"
    assert in_bucket(address)
    file = fetched(address, tmp_path)
    assert file.read_bytes() == bytes(range(256)) * 14
    assert file.suffix == ".safetensors"
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert fetched(address, tmp_path) == file
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("address", "failure", "told"),
    [
        ("s3://models/none.pt", WeightsNotFound, "correct the bucket and the key"),
        ("s3://no-such-bucket-here/none.pt", WeightsNotFound, "correct the bucket and the key"),
        ("s3://models", ModelError, "names no object"),
        ("s3://models/folder/", ModelError, "names no object"),
        ("az://models/vit.pt", ModelError, "az://models@account/vit.pt"),
        ("s3://models@minio:9000/vit.pt", ModelError, "AWS_ENDPOINT_URL"),
    ],
)
def test_what_cannot_be_fetched_says_what_to_do(
    tmp_path: Path, address: str, failure: type[ModelError], told: str
) -> None:
    with pytest.raises(failure, match=told):
        fetched(address, tmp_path)
    assert not list(tmp_path.glob("buckets/*"))


def test_a_service_that_does_not_answer_may_do_so_later(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(WeightsUnreachable, match="cannot be reached"):
        fetched("s3://models/vit/tiny.safetensors", tmp_path)
