"""What an ingestion is doing, for people: a bar with counts, rate and time left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_crds.progress import Progress, RunState

if TYPE_CHECKING:
    from rich.console import Console

    from lookalike_serving.local.rundir import RunDirectory


def read_progress(path: Path) -> Progress | None:
    """The progress file; None where there is none yet."""
    try:
        return Progress.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def described(progress: Progress) -> str:
    """Counts in a few words."""
    told = progress.total.told()
    return told if progress.total.done or progress.state.ended else f"{told} yet"


def duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole} s"


class ProgressBars:
    """One bar a collection; `refresh` reads the progress files and draws."""

    def __init__(self, run: RunDirectory, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        self._run = run
        self._tasks: dict[str, Any] = {}
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
            transient=not console.is_terminal,
        )

    def __enter__(self) -> ProgressBars:
        self._bars.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._bars.stop()

    def refresh(self, collections: list[str]) -> None:
        for collection in collections:
            progress = read_progress(self._run.progress_file(collection))
            if progress is None:
                continue
            if collection not in self._tasks:
                self._tasks[collection] = self._bars.add_task(collection, told="", total=None)
            total = progress.total
            self._bars.update(
                self._tasks[collection],
                completed=total.done,
                total=None if progress.state is RunState.LISTING else total.listed,
                told=_told(progress),
            )


def _told(progress: Progress) -> str:
    parts = []
    if progress.images_per_second and not progress.state.ended:
        parts.append(f"{progress.images_per_second:.0f} images/s")
    if progress.eta_seconds is not None and not progress.state.ended:
        parts.append(f"{duration(progress.eta_seconds)} left")
    if progress.state is RunState.OPTIMIZING:
        parts.append("optimising the index")
    if progress.total.failed:
        parts.append(f"{progress.total.failed:,} failed")
    return ", ".join(parts)


def summary(progress: Progress, say: Callable[[str], None]) -> None:
    """How an ended ingestion went, with the last of what failed."""
    took = duration((progress.updated_at - progress.started_at).total_seconds())
    say(f"{progress.collection}: {described(progress)} in {took}")
    if progress.message:
        say(f"  {progress.message}")
    for error in progress.errors[:5]:
        say(f"  {error.key}: {error.cause}")
    for lost in progress.lost:
        say(f"  {lost.told()}")
