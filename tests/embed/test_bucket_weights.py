"""Weights that lie in a bucket, fetched from a real S3 server."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.object_store import KEY, SECRET, S3Server, s3_server

from lookalike_serving.embed import fetching
from lookalike_serving.embed.bucket_weights import fetched, in_bucket
from lookalike_serving.embed.fetching import Remote, fetch
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
    assert {each.name for each in file.parent.iterdir()} == {file.name, f"{file.name}.lock"}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("address", "failure", "told"),
    [
        ("s3://models/none.pt", WeightsNotFound, "correct the bucket and the key"),
        ("s3://no-such-bucket-here/none.pt", WeightsNotFound, "correct the bucket's name"),
        ("s3://models", ModelError, "names no object"),
        ("s3://", ModelError, "names no object"),
        ("az://models/vit.pt", ModelError, "az://models@account/vit.pt"),
        ("s3://models@minio:9000/vit.pt", ModelError, "AWS_ENDPOINT_URL"),
    ],
)
def test_what_cannot_be_fetched_says_what_to_do(
    tmp_path: Path, address: str, failure: type[ModelError], told: str
) -> None:
    with pytest.raises(failure, match=told):
        fetched(address, tmp_path)
    assert all(each.suffix == ".lock" for each in tmp_path.glob("buckets/*"))


@pytest.mark.usefixtures("environment")
def test_a_digest_beside_the_object_is_checked(s3: S3Server, tmp_path: Path) -> None:
    data = bytes(range(200)) * 11
    good, bad = hashlib.sha256(data).hexdigest(), hashlib.sha256(b"other").hexdigest()
    s3.put("models", "good.pt", data)
    s3.put("models", "good.pt.sha256", f"{good}  good.pt\n".encode())
    s3.put("models", "bad.pt", data)
    s3.put("models", "bad.pt.sha256", bad.encode())
    s3.put("models", "odd.pt", data)
    s3.put("models", "odd.pt.sha256", b"see the wiki")
    assert fetched("s3://models/good.pt", tmp_path).read_bytes() == data
    with pytest.raises(WeightsUnreachable, match=f"has the SHA-256 {good}, and {bad}"):
        fetched("s3://models/bad.pt", tmp_path)
    with pytest.raises(ModelError, match=r"odd\.pt\.sha256 holds no SHA-256"):
        fetched("s3://models/odd.pt", tmp_path)
    assert not list(tmp_path.glob("buckets/*.part*"))


_HALF = """
import sys, time
from pathlib import Path
from lookalike_serving.embed import bucket_weights, fetching
bucket_weights._PART = 1000
put = fetching._put

def slow(handle, data, start):
    if start >= 6000:
        print("half", flush=True)
        time.sleep(60)
    put(handle, data, start)

fetching._put = slow
fetching._AT_ONCE = 1
bucket_weights.fetched(sys.argv[1], Path(sys.argv[2]))
"""


def test_a_killed_download_is_continued_by_who_waits_for_it(
    s3: S3Server, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = bytes(range(250)) * 48
    address = "s3://models/large.pt"
    s3.put("models", "large.pt", data)
    command = [sys.executable, "-c", _HALF, address, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ))
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    reads: list[int] = []
    put = fetching._put
    environment.setattr(fetching, "_put", lambda h, d, s: (reads.append(s), put(h, d, s)))
    with ThreadPoolExecutor(2) as pods:
        waiting = [pods.submit(fetched, address, tmp_path) for _ in range(2)]
        assert not any(each.done() for each in waiting)
        process.kill()  # the holder of the lock
        process.wait()
        assert {each.result(60).read_bytes() for each in waiting} == {data}
    assert sorted(reads) == list(range(6000, 12_000, 1000))  # once, and only what was missing


@pytest.mark.usefixtures("environment")
def test_a_full_disk_is_told_before_anything_is_fetched(
    s3: S3Server, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)
    none = os.statvfs_result((*real[:4], 0, *real[5:10]))
    environment.setattr(fetching.os, "statvfs", lambda _: none)
    with pytest.raises(OSError, match="needs 1 MB, and 0 MB are free") as full:
        fetched("s3://models/vit/tiny.safetensors", tmp_path)
    assert full.value.errno == errno.ENOSPC


def test_cut_connections_are_tried_again_and_a_new_version_begins_anew(tmp_path: Path) -> None:
    data, cuts = b"0123456789" * 30, {0: 2, 100: 1}

    async def read_range(start: int, length: int) -> bytes:
        if cuts.get(start, 0):
            cuts[start] -= 1
            if start:
                raise ConnectionResetError
            return data[start : start + length // 2]
        return data[start : start + length]

    def remote(version: str, sha256: str | None = None) -> Remote:
        return Remote("a file", version, len(data), read_range, sha256)

    asyncio.run(fetch(remote("1"), tmp_path / "one", part=100))
    assert (tmp_path / "one").read_bytes() == data
    # What an attempt at another version has left behind is not mixed in.
    (tmp_path / "two.part").write_bytes(b"x" * 300)
    notes = {"version": "1", "size": 300, "part": 100, "arrived": [0, 100]}
    (tmp_path / "two.part.json").write_text(json.dumps(notes))
    asyncio.run(fetch(remote("2"), tmp_path / "two", part=100))
    assert (tmp_path / "two").read_bytes() == data


def test_a_service_that_does_not_answer_may_do_so_later(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(WeightsUnreachable, match="cannot be reached"):
        fetched("s3://models/vit/tiny.safetensors", tmp_path)
