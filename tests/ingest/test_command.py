"""`lookalike ingest` and `lookalike status` say how a run really ended."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support import commands
from tests.support.pictures import animation

from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import (
    IngestionPhase,
    IngestionState,
    Phase,
    RunDirectory,
    State,
)

Lookalike = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def lookalike(place: Any) -> Iterator[Lookalike]:
    """The command, beside a server whose own ingestion of the collection is done."""
    run = RunDirectory.of(place.folder / "data")
    with run.lock():
        run.write_state(
            State(
                pid=os.getpid(),
                identity=processes.identity(os.getpid()) or "",
                phase=Phase.READY,
                url=place.url,
                started_at="2026-11-23T08:00:00Z",
                config_digest="",
                ingestions=(IngestionState("shop", IngestionPhase.DONE),),
            )
        )

        def command(
            name: str, *sources: dict[str, Any], output: str = "json"
        ) -> subprocess.CompletedProcess[str]:
            config = place.config(*sources).model_copy(
                update={"progress_file": run.progress_file("shop")}
            )
            run.ingestion_config("shop").write_text(config.model_dump_json(by_alias=True))
            return subprocess.run(
                commands.lookalike(name, "-o", output, "--data-dir", run.data_dir),
                capture_output=True,
                text=True,
                check=False,
            )

        yield command


def test_a_run_in_which_every_image_failed_fails_the_command(place, lookalike: Lookalike) -> None:
    for i in range(3):
        (place.images / f"{i}.png").write_bytes(b"bad")
    ran = lookalike("ingest")
    assert ran.returncode == 1, ran.stderr
    assert "none of 3 images could be ingested" in ran.stderr
    (told,) = json.loads(lookalike("status").stdout)["ingestions"]
    assert told["phase"] == "failed"
    assert "none of 3 images" in told["error"]


def test_a_run_in_which_some_failed_has_an_exit_code_of_its_own(
    place, paint, lookalike: Lookalike
) -> None:
    paint(place.images / "a.png", 1)
    (place.images / "b.png").write_bytes(b"bad")
    ran = lookalike("ingest")
    assert ran.returncode == 5, ran.stderr
    (report,) = json.loads(ran.stdout)
    assert report["outcome"] == "incomplete"
    (told,) = json.loads(lookalike("status").stdout)["ingestions"]
    assert told["phase"] == "done with errors"


def test_a_source_whose_folder_is_not_there_is_not_done(place, paint, lookalike: Lookalike) -> None:
    paint(place.images / "a.png", 1)
    there = {"name": "disk", "volume": {"path": str(place.images)}}
    gone = {"name": "gone", "volume": {"path": str(place.folder / "gone")}}
    assert lookalike("ingest", there, gone).returncode == 5
    (told,) = json.loads(lookalike("status").stdout)["ingestions"]
    assert (told["phase"], "is not a folder" in told["error"]) == ("done with errors", True)
    assert lookalike("ingest", gone).returncode == 1
    (told,) = json.loads(lookalike("status").stdout)["ingestions"]
    assert (told["phase"], "is not a folder" in told["error"]) == ("failed", True)


def test_a_complete_run_is_done(place, paint, lookalike: Lookalike) -> None:
    paint(place.images / "a.png", 1)
    assert lookalike("ingest").returncode == 0
    (told,) = json.loads(lookalike("status").stdout)["ingestions"]
    assert (told["phase"], told["error"]) == ("done", None)


def test_what_decoding_left_out_is_counted_by_cause(place, lookalike: Lookalike) -> None:
    for name in ("a.gif", "b.gif"):
        (place.images / name).write_bytes(animation())
    for low in (-5.0, -7.0):
        values = np.linspace(low, 70_000, 1200, dtype=np.float32).reshape(30, 40)
        Image.fromarray(values).save(place.images / f"deep{low}.tiff")
    Image.new("RGB", (40, 30)).save(place.images / "plain.png")
    ran = lookalike("ingest")
    assert ran.returncode == 0
    warnings = json.loads(ran.stdout)[0]["progress"]["warnings"]
    assert [(each["cause"], each["count"], each["source"]) for each in warnings] == [
        ("animated: the first frame is used", 2, "disk"),
        ("grey values were stretched to 0-255", 2, "disk"),
    ]
    assert warnings[0]["example"] in ("a.gif", "b.gif")
    line = "2 images: animated: the first frame is used (such as "
    assert f"  {line}" in ran.stderr
    assert line in RunDirectory.of(place.folder / "data").ingestion_log("shop").read_text()
    told = json.loads(lookalike("status").stdout)["ingestions"]
    assert told[0]["progress"]["warnings"] == warnings
    shown = lookalike("status", output="text").stdout
    assert f"  {line}" in shown
    # Nothing is decoded again, and nothing is lost in this run.
    assert json.loads(lookalike("ingest").stdout)[0]["progress"]["warnings"] == []
