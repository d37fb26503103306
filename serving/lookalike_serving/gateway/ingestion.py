"""The progress of a collection's ingestion, if it runs on this machine.

Ingestion writes a file into the run directory of the server. The file of a run that was killed
stays there, so it only counts while the process of the run lives. On a cluster, ingestion runs in
pods of its own: the status of the collection reports it, and this module does not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from lookalike_crds.config import ServingConfig
from lookalike_crds.progress import Progress, WorkerProgress
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import RunDirectory

_STALE = timedelta(minutes=10)
"""A process that has not written for so long is another one, which has the pid by now."""


class Ingestion(BaseModel):
    """A run that reads a collection's sources."""

    listed: int = Field(description="Number of images found so far.")
    listed_all: bool = Field(
        description="Whether all images have been found, so that `listed` is final."
    )
    done: int = Field(
        description="Number of these that were indexed, were found unchanged, or failed."
    )
    failed: int = Field(description="Of those.")
    images_per_second: float | None = None
    eta_seconds: float | None = Field(
        default=None, description="Estimated remaining time; known when all images are listed."
    )


def under_way(config: ServingConfig, collection: str) -> Ingestion | None:
    """The run that reads pictures into a collection now; None if there is none. Reads a file."""
    return _living(RunDirectory.of(config.data_dir, config.run_dir).progress_file(collection))


def _living(path: Path) -> Ingestion | None:
    try:
        progress = Progress.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    stale = datetime.now(UTC) - progress.updated_at > _STALE
    if progress.state.ended or stale or processes.identity(progress.pid) is None:
        return None
    return Ingestion.model_validate(WorkerProgress.of(progress), from_attributes=True)
