"""A download tells how far it is, to whoever shares the folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from huggingface_hub.file_download import http_get
from tests.support.object_store import KEY, SECRET, s3_server
from tests.support.slow_relay import slow_relay

from lookalike_crds.progress import PROGRESS_PORT_VARIABLE, Fetching, Progress, WorkerProgress
from lookalike_serving.embed.arriving import Arriving, arriving
from lookalike_serving.embed.bucket_weights import fetched
from lookalike_serving.embed.weights import noting
from lookalike_serving.progress_port import answering

DATA = os.urandom(3_000_000)
RATE = 1_000_000


@pytest.fixture(scope="module")
def slow() -> Iterator[str]:
    with s3_server() as server:
        server.bucket("models")
        server.put("models", "vit.pt", DATA, ACL="public-read")
        with slow_relay(server.url, RATE) as url:
            yield url


def _seen(done: Future[object], folder: Path) -> list[Fetching]:
    """What was told until the download was through."""
    told = []
    while not done.done():
        if (found := arriving(folder)) is not None:
            told.append(found)
        time.sleep(0.02)
    done.result()
    assert arriving(folder) is None
    assert not list(folder.rglob("*.fetching"))
    return told


def test_a_download_from_a_bucket_is_told_on_the_progress_port(
    slow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", slow)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv(PROGRESS_PORT_VARIABLE, "0")
    monkeypatch.setattr("lookalike_serving.embed.bucket_weights._PART", 300_000)
    monkeypatch.setattr("lookalike_serving.embed.arriving._WRITE_SECONDS", 0.0)
    now = datetime.now(UTC)
    progress = Progress(collection="photos", started_at=now, updated_at=now, pid=os.getpid())
    with answering(progress, tmp_path) as port, ThreadPoolExecutor(1) as pool:
        done: Future[object] = pool.submit(fetched, "s3://models/vit.pt", tmp_path)
        while (first := arriving(tmp_path)) is None:
            assert not done.done(), done.result()
            time.sleep(0.01)
        answer = WorkerProgress.model_validate(httpx.get(f"http://127.0.0.1:{port}/").json())
        assert answer.fetching is not None
        assert answer.fetching.total == len(DATA)
        told = [first, *_seen(done, tmp_path)]
    assert {each.total for each in told} == {len(DATA)}
    assert any(0 < each.done < len(DATA) for each in told)
    assert [each.done for each in told] == sorted(each.done for each in told)


def test_a_download_of_the_hubs_client_is_told(slow: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, (tmp_path / "file").open("wb") as out:
        done: Future[object] = pool.submit(
            http_get,
            f"{slow}/models/vit.pt",
            out,
            expected_size=len(DATA),
            tqdm_class=noting(tmp_path / "org--model--vit.pt"),
        )
        told = _seen(done, tmp_path)
    assert {each.total for each in told} == {len(DATA)}
    assert (tmp_path / "file").read_bytes() == DATA


def test_files_are_added_up_and_a_killed_process_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    Arriving(tmp_path / "a.pt", 600_000_000, 300_000_000)
    Arriving(tmp_path / "hub" / "b.json", 5_000_000, 5_000_000)
    told = arriving(tmp_path)
    assert told is not None
    assert told.told() == "305 of 605 MB"
    old = tmp_path / "a.pt.fetching"
    os.utime(old, (time.time() - 3600,) * 2)
    (tmp_path / "c.fetching").write_text(json.dumps(["no note"]))
    assert arriving(tmp_path) == Fetching(done=5_000_000, total=5_000_000)
