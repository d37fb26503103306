"""What an ingestion run says of itself in its log, which is all that a pod leaves to be read."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.failures import FAILURES, FailureKind, RunExit
from lookalike_crds.progress import (
    MOST_TOLD,
    PROGRESS_PORT_VARIABLE,
    Progress,
    RunState,
    WorkerProgress,
)
from lookalike_serving import progress_port
from lookalike_serving.ingest import __main__ as command
from lookalike_serving.ingest import progress as written
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.work import Failure
from lookalike_serving.progress_port import answering


def test_the_log_tells_counts_while_it_runs_and_at_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "lookalike.ingest")
    with ProgressWriter(tmp_path / "ingestion.json", "catalogue") as progress:
        counts = progress.counts("products")
        progress.enter(RunState.LISTING)
        assert caplog.messages == [], "not more often than it is of use"
        monkeypatch.setattr(written, "_LOGGED_EVERY_SECONDS", 0.0)
        counts.listed, counts.new, counts.failed = 12, 3, 1
        progress.write(now=True)
        assert caplog.messages[-1].startswith("listing: 4 of 12 images; 3 new, 0 updated, 0 unch")
        counts.new = 11
        progress.progress.documents = 11
        progress.enter(RunState.COMPLETED_WITH_ERRORS)
    assert caplog.messages[-1] == (
        "completed_with_errors: 12 of 12 images; 11 new, 0 updated, 0 unchanged, 0 deleted, "
        "1 failed; 11 documents in the index"
    )


def test_a_run_answers_on_its_port_while_it_goes_on(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[WorkerProgress] = []

    @contextlib.contextmanager
    def told(progress: Progress, weights: Path) -> Iterator[int | None]:
        with answering(progress, weights) as port:
            yield port
            answer = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).content
            asked.append(WorkerProgress.model_validate_json(answer))

    monkeypatch.setenv(PROGRESS_PORT_VARIABLE, "0")
    monkeypatch.setattr(progress_port, "answering", told)

    def run(config: object, partition: object, progress: ProgressWriter, _: bool) -> RunExit:
        progress.counts("disk").listed = 7
        return RunExit.COMPLETE

    monkeypatch.setattr(command, "_run", run)
    assert command._ingest(place.config(), None, None) == 0
    assert [(each.listed, each.listed_all) for each in asked] == [(7, False)]


def test_failures_are_grouped_by_their_row_of_the_table(tmp_path: Path) -> None:
    with ProgressWriter(tmp_path / "ingestion.json", "catalogue") as progress:
        for number in range(7):
            cause = f"the JPEG image ends early, after {number * 1000:,} bytes: fetch it again"
            progress.fail(Failure("disk", f"{number}.jpg", cause, "image-truncated"))
        for name in ("x.jpg", "y.jpg"):
            told = "price: 'cheap' is no Float"
            progress.fail(Failure("disk", name, told, "entry-bad-metadata"))
        progress.enter(RunState.COMPLETED_WITH_ERRORS)
    assert [each.told() for each in progress.progress.failures] == [
        "7 images: the image file is incomplete "
        "(such as 0.jpg: the JPEG image ends early, after 0 bytes: fetch it again)",
        "2 images: price: 'cheap' is no Float (such as x.jpg)",
    ]


@given(st.lists(st.tuples(st.text(max_size=8), st.sampled_from(FAILURES)), max_size=500))
def test_every_failure_is_in_one_of_few_groups(causes: list[tuple[str, FailureKind]]) -> None:
    with TemporaryDirectory() as folder, ProgressWriter(Path(folder) / "p.json", "c") as progress:
        for cause, kind in causes:
            progress.fail(Failure("disk", "x.jpg", cause, kind.code))
        progress.write(now=True)
        groups = progress.progress.failures
    assert sum(each.count for each in groups) == len(causes)
    assert len(groups) <= MOST_TOLD + 1
