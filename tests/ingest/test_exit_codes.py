"""What a run leaves when it fails: the row of the table of failures says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.configs import collection

from lookalike_crds.config import IngestionConfig
from lookalike_crds.failures import FAILURES, STOPPED, FailureKind
from lookalike_crds.image_collection import IngestionSpec
from lookalike_crds.progress import RunResult, RunState
from lookalike_serving.ingest import __main__ as command


@pytest.fixture
def config(tmp_path: Path) -> IngestionConfig:
    return IngestionConfig(
        collection=collection(tmp_path, "shop"),
        sources=(),
        ingestion=IngestionSpec(),
        data_dir=tmp_path / "data",
        progress_file=tmp_path / "progress.json",
    )


@pytest.mark.parametrize("row", [r for r in FAILURES if r.reason is not None], ids=str)
def test_a_run_ends_with_the_exit_code_and_the_reason_of_its_failure(
    config: IngestionConfig, row: FailureKind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Failing(Exception):
        failure_kind = row

    async def fails(*_: object) -> RunState:
        raise Failing("told")

    monkeypatch.setattr(command, "_until_told", fails)
    result = tmp_path / "result"
    assert command._ingest(config, None, result) is row.exit_code
    left = RunResult.model_validate_json(result.read_bytes())
    assert (left.state, left.reason) == (RunState.FAILED, row.reason)
    assert "told" in (left.message or "")


def test_a_run_that_is_stopped_says_so(
    config: IngestionConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def stopped(*_: object) -> RunState:
        raise SystemExit(STOPPED.exit_code)

    monkeypatch.setattr(command, "_until_told", stopped)
    result = tmp_path / "result"
    assert command._ingest(config, None, result) is STOPPED.exit_code
    assert RunResult.model_validate_json(result.read_bytes()).reason == STOPPED.reason
