"""How an ingestion is shown: lines where no terminal is, and what went wrong by cause."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from lookalike_cli import following as room
from lookalike_cli.following import following, summary
from lookalike_crds.progress import ByCause, Counts, Progress, RunState
from lookalike_serving.machine.rundir import RunDirectory


def progress(state: RunState = RunState.RUNNING, **told: object) -> Progress:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    return Progress.model_validate(
        {
            "collection": "photos",
            "state": state,
            "started_at": now,
            "updated_at": now,
            "pid": os.getpid(),
            **told,
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    run = RunDirectory.of(tmp_path)
    run.path.mkdir(parents=True)
    return run


def write(run: RunDirectory, told: Progress) -> None:
    run.progress_file("photos").write_text(told.model_dump_json())


def test_without_a_terminal_progress_is_lines_without_control_characters(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.StringIO()
    now = 0.0
    monkeypatch.setattr(room.time, "monotonic", lambda: now)
    with following(run, Console(file=file)) as shown:
        for done in range(0, 100, 5):
            counts = Counts(listed=100, new=done)
            write(run, progress(sources={"s": counts}, listed_all=True, images_per_second=5))
            shown.refresh(["photos"])
            now += 1
    text = file.getvalue()
    assert text.isascii()
    assert all(c.isprintable() or c == "\n" for c in text)
    assert text.splitlines() == [
        f"photos: {done} of 100 images, 5 images/s" for done in (0, 25, 50, 75)
    ]


def test_the_summary_tells_each_cause_with_count_example_and_remedy() -> None:
    ended = progress(
        RunState.COMPLETED_WITH_ERRORS,
        message="3 images could not be ingested",
        sources={"s": Counts(listed=10, new=7, failed=3, skipped=2)},
        failures=[
            ByCause(cause="ends early: fetch it again", count=3, source="s", example="x/a.jpg"),
        ],
        skipped=[
            ByCause(
                cause=".txt is no name of an image", count=2, of="file", source="s", example="n.txt"
            )
        ],
    )
    said: list[str] = []
    summary(ended, said.append)
    assert said == [
        "photos: 7 new, 3 failed, 2 skipped in 0 s",
        "  3 images could not be ingested",
        "  failed: 3 images: ends early: fetch it again (such as x/a.jpg)",
        "  skipped: 2 files: .txt is no name of an image (such as n.txt)",
    ]
