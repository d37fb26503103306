"""Large runs on Ray: killed at any moment and run again, each image is there exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lookalike_crds.progress import Progress, RunState

IMAGES = 420


def start(place) -> subprocess.Popen[bytes]:
    file = place.folder / "config.json"
    file.write_text(place.config(parallelism=2, batchSize=8).model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-m", "lookalike_serving.ingest", "--config", str(file)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )


def wait_for(place, process: subprocess.Popen[bytes], done: int) -> Progress:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (place.folder / "progress.json").exists() and place.progress().total.new >= done:
            break
        time.sleep(0.05)
    return place.progress()


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_killed_half_way_is_finished_by_the_next_one(place, paint) -> None:
    for i in range(IMAGES):
        paint(place.images / f"{i:04d}.png", i)
    first = start(place)
    seen = wait_for(place, first, 64)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    there = len(place.documents())
    assert 0 < there < IMAGES, seen

    (place.folder / "progress.json").unlink()
    second = start(place)
    _, errors = second.communicate(timeout=240)
    assert second.returncode == 0, errors.decode()
    total = place.progress().total
    assert place.progress().state is RunState.COMPLETED
    assert total.unchanged >= there
    assert total.new + total.unchanged == IMAGES
    assert len(place.documents()) == IMAGES


def test_two_runs_of_one_collection_do_not_meet(place) -> None:
    from lookalike_serving.ingest.__main__ import Busy, _alone

    config = place.config()
    with (
        _alone(config),
        pytest.raises(Busy, match=f"process {os.getpid()} is ingesting"),
        _alone(config),
    ):
        pass
