"""Large runs on Ray: killed at any moment and run again, each image is there exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from lookalike_crds.progress import RunState

IMAGES = 420
WRITES = 4
"""As many as the first run gets in, of up to 64 images each: it is always in its middle."""
SECONDS = 300


def start(place) -> subprocess.Popen[bytes]:
    file = place.folder / "config.json"
    file.write_text(place.config(parallelism=2, batchSize=8).model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-m", "lookalike_serving.ingest", "--config", str(file)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_killed_half_way_is_finished_by_the_next_one(place, paint) -> None:
    for i in range(IMAGES):
        paint(place.images / f"{i:04d}.png", i)
    place.door.close_after(WRITES)
    first = start(place)
    deadline = time.monotonic() + SECONDS
    while not place.documents():
        assert first.poll() is None, first.communicate()[1].decode()
        assert time.monotonic() < deadline, "no image in time"
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    place.door.open()
    there = len(place.documents())
    assert 0 < there < IMAGES

    (place.folder / "progress.json").unlink()
    second = start(place)
    _, errors = second.communicate(timeout=SECONDS)
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
