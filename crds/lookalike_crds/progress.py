"""What an ingestion run says of itself while it runs: one JSON file, replaced atomically.

Written by `lookalike_serving.ingest`, read by `lookalike up`, `lookalike status` and the operator.
Beside it, `<name>.errors.jsonl` lists every image that failed, one JSON object a line.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class RunState(StrEnum):
    LISTING = "LISTING"  # and already working on what was listed
    RUNNING = "RUNNING"
    OPTIMIZING = "OPTIMIZING"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        return self in {self.COMPLETED, self.COMPLETED_WITH_ERRORS, self.FAILED}


class Counts(BaseModel):
    """Images of one source."""

    model_config = ConfigDict(extra="ignore")

    listed: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    skipped: int = Field(default=0, description="Files that are not images by their name.")

    @property
    def done(self) -> int:
        return self.new + self.updated + self.unchanged + self.failed


class ItemError(BaseModel):
    """One image that could not be ingested."""

    model_config = ConfigDict(extra="ignore")

    source: str
    key: str
    cause: str


class Progress(BaseModel):
    model_config = ConfigDict(extra="ignore")

    version: int = 1
    collection: str
    state: RunState = RunState.LISTING
    message: str | None = Field(default=None, description="Why it failed; what to know.")
    sources: dict[str, Counts] = Field(default_factory=dict)
    images_per_second: float | None = None
    eta_seconds: float | None = Field(default=None, description="Known once listing has ended.")
    started_at: datetime
    updated_at: datetime
    pid: int
    errors: list[ItemError] = Field(default_factory=list, description="The last few.")

    @property
    def total(self) -> Counts:
        """Sum over the sources."""
        total = Counts()
        for counts in self.sources.values():
            for name in Counts.model_fields:
                setattr(total, name, getattr(total, name) + getattr(counts, name))
        return total


def errors_file(progress_file: Path) -> Path:
    """Where the full list of failed images is."""
    return progress_file.with_name(f"{progress_file.stem}.errors.jsonl")
