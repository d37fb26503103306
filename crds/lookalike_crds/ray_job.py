"""What an ingestion on Ray leaves in the log of its Ray job, and who reads it."""

from __future__ import annotations

from pydantic import ValidationError

from lookalike_crds.progress import RunResult

_MARK = "lookalike-result "


def result_line(result: RunResult) -> str:
    """The line of the log that says how a run ended."""
    return _MARK + result.to_json().decode().replace("\n", " ")


def result_in(line: str) -> RunResult | None:
    """The result that a line of the log has, if any."""
    _, mark, text = line.partition(_MARK)
    if not mark:
        return None
    try:
        return RunResult.model_validate_json(text)
    except ValidationError:
        return None
