"""The command as a Job runs it: exit codes, the result it leaves, being stopped half-way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lookalike_crds.failures import INDEX_UNAVAILABLE, WEIGHTS_NOT_FOUND
from lookalike_crds.image_collection import Engine
from lookalike_crds.progress import RunResult, RunState

IMAGES = 96
SECONDS = 120

# Each run is a process of its own, most of which do not import everything again.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.ingest.killed_processes"])


@dataclass(frozen=True)
class Job:
    """A run in a forked process."""

    process: Any
    log: Path

    def ended(self) -> tuple[int, str]:
        """Exit code, and the last line of its log."""
        try:
            self.process.join(SECONDS)
            assert not self.process.is_alive(), "it does not end"
        finally:
            self.process.kill()
        lines = self.log.read_text().strip().splitlines()
        return self.process.exitcode, lines[-1] if lines else ""


def arguments(place, *more: str, **changes: object) -> list[str]:
    config = place.config().model_copy(update=changes)
    file = place.folder / "ingestion.json"
    file.write_text(config.model_dump_json(by_alias=True))
    return ["--config", str(file), "--result", str(place.folder / "result"), *more]


def start(place, *more: str, **changes: object) -> Job:
    from tests.ingest.killed_processes import job

    log = place.folder / "job.log"
    log.touch()
    process = _PROCESSES.Process(target=job, args=(arguments(place, *more, **changes), log))
    process.start()
    return Job(process, log)


def started(place, *more: str) -> subprocess.Popen[str]:
    """The command itself."""
    command = [sys.executable, "-m", "lookalike_serving.ingest", *arguments(place, *more)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def result(place) -> RunResult:
    return RunResult.model_validate_json((place.folder / "result").read_bytes())


def test_a_partition_leaves_its_result(place, paint) -> None:
    (place.folder / "result").touch()  # as Kubernetes makes it
    inode = (place.folder / "result").stat().st_ino
    for i in range(3):
        paint(place.images / f"{i}.png", i)
    (place.images / "broken.png").write_bytes(b"broken")
    code, last = start(place, "--partition", "0/1").ended()
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
            {"model": {"provider": "TorchScript", "name": "any", "weights": "/no.pt"}},
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
    got, last = start(place, collection=changed).ended()
    assert (got, word in last) == (kind.exit_code, True), last
    assert (result(place).state, result(place).reason) == (RunState.FAILED, kind.reason)
    assert word in (result(place).message or "")


def test_too_many_failures_are_not_tried_again(place) -> None:
    for i in range(3):
        (place.images / f"{i}.png").write_bytes(b"bad")
    ingestion = place.config(maxFailures=1).ingestion
    code, last = start(place, ingestion=ingestion).ended()
    assert code == 2, last
    assert "maxFailures (1)" in last
    assert result(place).reason == "TooManyFailures"


def test_a_run_in_which_every_image_failed_has_failed(place) -> None:
    for i in range(3):
        (place.images / f"{i}.png").write_bytes(b"bad")
    code, last = start(place).ended()
    assert code == 2, last
    assert "none of 3 images could be ingested" in last
    assert (result(place).state, result(place).reason) == (RunState.FAILED, "NothingIngested")


def test_a_completed_run_logs_what_it_did(place, paint) -> None:
    paint(place.images / "a.png", 1)
    process = started(place)
    _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, log
    assert "source disk: 1 listed, 1 new" in log
    assert "COMPLETED: collection shop, 1 new in" in log


def test_a_config_of_another_version_is_not_tried_again(place) -> None:
    code, last = start(place, version=2).ended()
    assert code == 2
    assert "version" in last
    left = result(place)
    assert (left.state, left.reason, left.message) == (RunState.FAILED, "InvalidConfig", last)


def test_a_folder_that_is_not_there_may_be_tried_again(place) -> None:
    place.images.rmdir()
    code, last = start(place).ended()
    assert code == 1
    assert "is not a folder" in last


def test_a_stopped_run_says_so_and_the_next_one_goes_on(place, paint) -> None:
    for i in range(IMAGES):
        paint(place.images / f"{i:03d}.png", i)
    ingestion = place.config(batchSize=8).ingestion
    place.door.close_after(2)
    first = start(place, "--partition", "0/1", ingestion=ingestion)
    deadline = time.monotonic() + SECONDS
    while not place.documents():
        assert first.process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(first.process.pid, signal.SIGTERM)
    place.door.open()
    code, last = first.ended()
    assert code == 143, last
    assert result(place).state is RunState.FAILED
    there = len(place.documents())
    assert 8 <= there < IMAGES
    code, last = start(place, "--partition", "0/1").ended()
    assert code == 0, last
    counts = result(place).sources["disk"]
    assert counts.unchanged == there
    assert counts.new == IMAGES - there
    assert len(place.documents()) == IMAGES


def test_a_signal_while_it_loads_ends_it_too(place) -> None:
    process = started(place, "--partition", "0/1")
    deadline = time.monotonic() + SECONDS
    while not _handles(process.pid, signal.SIGTERM):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 143


def test_a_gateway_that_starts_later_is_waited_for(place, paint) -> None:
    paint(place.images / "a.png", 1)
    place.stop()
    waiting = start(place, "--partition", "0/1")
    deadline = time.monotonic() + SECONDS
    while not (place.folder / "progress.json").exists():
        assert waiting.process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert json.loads((place.folder / "progress.json").read_text())["state"] == "LISTING"
    place.start()
    code, last = waiting.ended()
    assert code == 0, last
    assert set(place.documents()) == {"a.png"}


def _handles(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(mask >> (number - 1) & 1)
