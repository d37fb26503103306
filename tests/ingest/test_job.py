"""The command as a Job runs it: exit codes, the result it leaves, being stopped half-way."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lookalike_crds.failures import INDEX_UNAVAILABLE, WEIGHTS_NOT_FOUND
from lookalike_crds.image_collection import Engine
from lookalike_crds.progress import RunResult, RunState

SECONDS = 240


def start(place, *arguments: str, **changes: object) -> subprocess.Popen[str]:
    config = place.config().model_copy(update=changes)
    file = place.folder / "ingestion.json"
    file.write_text(config.model_dump_json(by_alias=True))
    command = [sys.executable, "-m", "lookalike_serving.ingest", "--config", str(file)]
    result = ["--result", str(place.folder / "result")]
    return subprocess.Popen([*command, *result, *arguments], stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code, and the last line of its log."""
    try:
        _, log = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return process.returncode, log.strip().splitlines()[-1] if log.strip() else ""


def result(place) -> RunResult:
    return RunResult.model_validate_json((place.folder / "result").read_bytes())


def test_a_partition_leaves_its_result(place, paint) -> None:
    (place.folder / "result").touch()  # as Kubernetes makes it
    inode = (place.folder / "result").stat().st_ino
    for i in range(3):
        paint(place.images / f"{i}.png", i)
    (place.images / "broken.png").write_bytes(b"broken")
    code, last = ended(start(place, "--partition", "0/1"))
    assert code == 0, last
    told = result(place)
    assert told.state is RunState.COMPLETED_WITH_ERRORS
    assert (told.sources["disk"].new, told.sources["disk"].failed) == (3, 1)
    assert (told.documents, told.index_name) == (3, "shop")
    assert [e.key for e in told.errors] == ["broken.png"]
    assert (place.folder / "result").stat().st_ino == inode


@pytest.mark.parametrize(
    ("changes", "kind", "word"),
    [
        (
            {"model": {"provider": "OpenClip", "name": "ViT-B-32", "weights": "/no.pt"}},
            WEIGHTS_NOT_FOUND,
            "no.pt",
        ),
        (
            {"index": {"engine": Engine.QDRANT, "url": "http://127.0.0.1:9"}},
            INDEX_UNAVAILABLE,
            "does not answer",
        ),
    ],
    ids=["weights that are not there", "an index that is not there"],
)
def test_the_exit_code_tells_whether_to_try_again(place, paint, changes, kind, word) -> None:
    paint(place.images / "a.png", 1)
    collection = place.collection.model_dump(mode="json", by_alias=True)
    for part, values in changes.items():
        collection[part] |= values
    changed = type(place.collection).model_validate(collection)
    got, last = ended(start(place, collection=changed))
    assert (got, word in last) == (kind.exit_code, True), last
    assert (result(place).state, result(place).reason) == (RunState.FAILED, kind.reason)
    assert word in (result(place).message or "")


def test_too_many_failures_are_not_tried_again(place) -> None:
    for i in range(3):
        (place.images / f"{i}.png").write_bytes(b"bad")
    ingestion = place.config(maxFailures=1).ingestion
    code, last = ended(start(place, ingestion=ingestion))
    assert code == 2, last
    assert "maxFailures (1)" in last
    assert result(place).reason == "TooManyFailures"


def test_a_run_in_which_every_image_failed_has_failed(place) -> None:
    for i in range(3):
        (place.images / f"{i}.png").write_bytes(b"bad")
    code, last = ended(start(place))
    assert code == 2, last
    assert "none of 3 images could be ingested" in last
    assert (result(place).state, result(place).reason) == (RunState.FAILED, "NothingIngested")


def test_a_completed_run_logs_what_it_did(place, paint) -> None:
    paint(place.images / "a.png", 1)
    process = start(place)
    _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, log
    assert "source disk: 1 listed, 1 new" in log
    assert "COMPLETED: collection shop, 1 new in" in log


def test_a_config_of_another_version_is_not_tried_again(place) -> None:
    code, last = ended(start(place, version=2))
    assert code == 2
    assert "version" in last
    left = result(place)
    assert (left.state, left.reason, left.message) == (RunState.FAILED, "InvalidConfig", last)


def test_a_folder_that_is_not_there_may_be_tried_again(place) -> None:
    place.images.rmdir()
    code, last = ended(start(place))
    assert code == 1
    assert "is not a folder" in last


def test_a_stopped_run_says_so_and_the_next_one_goes_on(place, paint) -> None:
    for i in range(10):
        paint(place.images / f"{i:03d}.png", i, size=(900, 700))
    for i in range(10, 300):  # painting takes longer than all the rest
        shutil.copy(place.images / f"{i % 10:03d}.png", place.images / f"{i:03d}.png")
    first = start(place, "--partition", "0/1")
    deadline = time.monotonic() + SECONDS
    while not (place.folder / "progress.json").exists() or place.progress().total.new < 64:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    code, last = ended(first)
    assert code == 143, last
    assert result(place).state is RunState.FAILED
    there = len(place.documents())
    assert 64 <= there < 300
    code, last = ended(start(place, "--partition", "0/1"))
    assert code == 0, last
    counts = result(place).sources["disk"]
    assert counts.unchanged == there
    assert counts.new == 300 - there
    assert len(place.documents()) == 300


def test_a_signal_while_it_loads_ends_it_too(place) -> None:
    process = start(place, "--partition", "0/1")
    deadline = time.monotonic() + SECONDS
    while not _handles(process.pid, signal.SIGTERM):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 143


def test_a_gateway_that_starts_later_is_waited_for(place, paint) -> None:
    paint(place.images / "a.png", 1)
    place.stop()
    process = start(place, "--partition", "0/1")
    deadline = time.monotonic() + SECONDS
    while not (place.folder / "progress.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert json.loads((place.folder / "progress.json").read_text())["state"] == "LISTING"
    place.start()
    code, last = ended(process)
    assert code == 0, last
    assert set(place.documents()) == {"a.png"}


def _handles(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(mask >> (number - 1) & 1)
