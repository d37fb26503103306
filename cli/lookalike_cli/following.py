"""What an ingestion is doing, for people: counts, rate, time left; and how it went, by cause."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lookalike_crds.progress import Progress, RunState

if TYPE_CHECKING:
    from rich.console import Console

    from lookalike_serving.machine.rundir import RunDirectory, State


_LINE_EVERY_SECONDS = 5.0
_POLL_SECONDS = 0.2


def read_progress(path: Path) -> Progress | None:
    """The progress file; None if there is none yet."""
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


def follow_ingestions(run: RunDirectory, alive: Callable[[], State | None]) -> State:
    """Show the ingestions of a server until all have ended, and say how they did.

    `alive`: the server's state, if it has written one. Raises Failure if it has ended.
    """
    from lookalike_cli.printing import notice, notices
    from lookalike_serving.machine.rundir import IngestionPhase

    with following(run, notices()) as shown:
        while True:
            state = alive()
            if state is not None:
                shown.refresh([each.collection for each in state.ingestions])
                if state.ingestions_ended:
                    break
            time.sleep(_POLL_SECONDS)
    for ingestion in state.ingestions:
        progress = read_progress(run.progress_file(ingestion.collection))
        if progress is not None:
            summary(progress, lambda text: notices().print(text, markup=False, soft_wrap=True))
        if ingestion.phase is IngestionPhase.FAILED:
            notice(
                f"the ingestion of {ingestion.collection} failed: {ingestion.error}. Its log: "
                f"{run.ingestion_log(ingestion.collection)}"
            )
    return state


def end_by(state: State) -> None:
    """End the command with the code that says how the ingestions did; return where all is in.

    A changed model that does not answer is a failure, and is told.
    """
    import typer

    from lookalike_cli.failure import ExitCode
    from lookalike_cli.printing import notice
    from lookalike_serving.machine.rundir import IngestionPhase

    held = [each for each in state.ingestions if each.held is not None]
    for each in held:
        notice(held_line(each.collection, str(each.held)))
    if held:
        raise typer.Exit(ExitCode.FAILED)
    phases = {each.phase for each in state.ingestions}
    if IngestionPhase.FAILED in phases:
        raise typer.Exit(ExitCode.FAILED)
    if IngestionPhase.INCOMPLETE in phases:
        raise typer.Exit(ExitCode.INCOMPLETE)


def held_line(collection: str, held: str) -> str:
    """Why the former model of a collection keeps answering, and what to do."""
    return (
        f"{collection}: the former model keeps answering: {held}. Correct the cause and run "
        "`lookalike apply` again, or let the new model answer with "
        f"`lookalike switch {collection}`"
    )


class Following(Protocol):
    """Shows how ingestions go, from `__enter__` until `__exit__`."""

    def __enter__(self) -> Following: ...
    def __exit__(self, *ignored: object) -> None: ...
    def refresh(self, collections: list[str]) -> None:
        """Read the progress files and show what they say."""
        ...


def following(run: RunDirectory, console: Console) -> Following:
    """Bars on a terminal; elsewhere – a file, a pipe, the log of a CI – lines."""
    return ProgressBars(run, console) if console.is_terminal else ProgressLines(run, console)


class ProgressLines:
    """A line a collection, every few seconds; how it ended, `summary` says."""

    def __init__(self, run: RunDirectory, console: Console) -> None:
        self._run = run
        self._console = console
        self._said_at = -inf
        self._said: dict[str, str] = {}

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *ignored: object) -> None:
        pass

    def refresh(self, collections: list[str]) -> None:
        now = time.monotonic()
        if now - self._said_at < _LINE_EVERY_SECONDS:
            return
        for collection in collections:
            progress = read_progress(self._run.progress_file(collection))
            if progress is None or progress.state.ended or not progress.total.images:
                continue
            line = _line(progress)
            if self._said.get(collection) != line:
                self._said[collection] = line
                self._said_at = now
                self._console.print(line, markup=False, soft_wrap=True)


def _line(progress: Progress) -> str:
    """Such as "photos: 120 of 250 images, 31 images/s, 4 s left"."""
    total = progress.total
    found = f"{total.images:,} images" + ("" if progress.listed_all else " found so far")
    told = _told(progress)
    return f"{progress.collection}: {total.done:,} of {found}" + (f", {told}" if told else "")


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
                total=None if progress.state is RunState.LISTING else total.images,
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
    """How an ended ingestion went."""
    took = duration((progress.updated_at - progress.started_at).total_seconds())
    say(f"{progress.collection}: {described(progress)} in {took}")
    if progress.message:
        say(f"  {progress.message}")
    for line in by_cause(progress):
        say(f"  {line}")


def by_cause(progress: Progress) -> list[str]:
    """What did not come in, what was passed over, what was left out: a line for each cause, with
    how many, an example and the remedy."""
    return [
        *(f"failed: {each.told()}" for each in progress.failures),
        *(f"skipped: {each.told()}" for each in progress.skipped),
        *(each.told() for each in progress.warnings),
    ]
