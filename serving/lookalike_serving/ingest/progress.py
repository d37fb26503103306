"""Writes the progress file and the list of errors while a run continues."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TextIO

from lookalike_crds.failures import FailureKind
from lookalike_crds.progress import (
    ByCause,
    Counts,
    ItemError,
    Progress,
    RunState,
    Tally,
    errors_file,
)
from lookalike_serving.ingest.sources import Skipped
from lookalike_serving.ingest.work import Failure

log = logging.getLogger("lookalike.ingest")

_EVERY_SECONDS = 0.5
_LOGGED_EVERY_SECONDS = 30.0
_LAST_ERRORS = 20
_MAX_LISTED = 100_000
"""Errors that the list holds; all of them are counted."""
_RATE_WINDOW_SECONDS = 10.0


class ProgressWriter:
    """Counts, and a file that says them. The file is whole at any moment it is read."""

    def __init__(self, path: Path, collection: str) -> None:
        now = datetime.now(UTC)
        self.progress = Progress(
            collection=collection, started_at=now, updated_at=now, pid=os.getpid()
        )
        self.failure: FailureKind | None = None
        """Of a run that failed: its row in the table of failures."""
        self.unsaved: list[Failure] = []
        """Failures that are not in the collection's records yet."""
        self._path = path
        self._failures, self._skipped, self._warnings = Tally(), Tally(), Tally()
        self._written = 0.0
        self._logged = time.monotonic()
        self._rates: deque[tuple[float, int]] = deque()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._errors: TextIO = errors_file(path).open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._errors.close()

    def counts(self, source: str) -> Counts:
        return self.progress.sources.setdefault(source, Counts())

    @property
    def failed(self) -> int:
        return sum(c.failed for c in self.progress.sources.values())

    @property
    def last_error(self) -> str:
        """The last image that failed, and why."""
        error = self.progress.errors[-1]
        return f"{error.key}: {error.cause}"

    def fail(self, failure: Failure) -> None:
        error = ItemError(
            source=failure.source, key=failure.key, cause=failure.cause, code=failure.code
        )
        self.counts(failure.source).failed += 1
        made = self.progress.failed_by
        made[failure.code] = made.get(failure.code, 0) + 1
        self.unsaved.append(failure)
        if self.failed <= _MAX_LISTED:
            self._errors.write(error.model_dump_json() + "\n")
        self.progress.errors = [*self.progress.errors, error][-_LAST_ERRORS:]
        one = ByCause(
            cause=failure.cause, code=failure.code, source=failure.source, example=failure.key
        )
        self._failures.add(one)

    def skip(self, source: str, skipped: Skipped) -> None:
        """Note what a source has passed over by itself, once it has listed everything."""
        counts = self.counts(source)
        counts.listed += skipped.total
        counts.skipped += skipped.total
        for one in skipped.counted(source):
            self._skipped.add(one)

    def pass_over(self, source: str, cause: str, key: str) -> None:
        """Tell of one image that was skipped, and that is counted elsewhere."""
        self._skipped.add(ByCause(cause=cause, source=source, example=key))

    def took(self, stage: str, seconds: float) -> None:
        """Count the time of a stage."""
        spent = self.progress.seconds
        spent[stage] = spent.get(stage, 0.0) + seconds

    def warn(self, *warnings: ByCause) -> None:
        """Count what was left out."""
        for each in warnings:
            self._warnings.add(each)

    def enter(
        self, state: RunState, message: str | None = None, failure: FailureKind | None = None
    ) -> None:
        """Begin a phase, and say so at once. `failure`: of a run that failed, why."""
        self.progress.state = state
        if failure is not None:
            self.failure = failure
            self.progress.reason = failure.reason
        if message is not None:
            self.progress.message = message
        self.write(now=True)

    def write(self, *, now: bool = False) -> None:
        """Bring the file up to date, at most twice a second unless `now`."""
        moment = time.monotonic()
        if not now and moment - self._written < _EVERY_SECONDS:
            return
        self._written = moment
        self._estimate(moment)
        self.progress.failures = self._failures.most_frequent()
        self.progress.skipped = self._skipped.most_frequent()
        self.progress.warnings = self._warnings.most_frequent()
        if self.progress.state.ended or moment - self._logged >= _LOGGED_EVERY_SECONDS:
            self._logged = moment
            log.info("%s", self._line())
        self.progress.updated_at = datetime.now(UTC)
        self._errors.flush()
        scratch = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        scratch.write_text(self.progress.model_dump_json(indent=1))
        scratch.replace(self._path)

    def _line(self) -> str:
        """How far it is, for the log of a pod, whose files nobody reads."""
        made, total = self.progress, self.progress.total
        said = [
            f"{made.state.value.lower()}: {total.done} of {total.images} images",
            f"{total.new} new, {total.updated} updated, {total.unchanged} unchanged, "
            f"{total.deleted} deleted, {total.failed} failed",
        ]
        if made.images_per_second is not None and not made.state.ended:
            said.append(f"{made.images_per_second:g} a second")
        if made.eta_seconds is not None:
            said.append(f"about {made.eta_seconds:.0f} s left")
        if made.documents is not None:
            said.append(f"{made.documents} documents in the index")
        return "; ".join(said)

    def _estimate(self, moment: float) -> None:
        total = self.progress.total
        self._rates.append((moment, total.new + total.updated))
        while moment - self._rates[0][0] > _RATE_WINDOW_SECONDS and len(self._rates) > 2:
            self._rates.popleft()
        (t0, n0), (t1, n1) = self._rates[0], self._rates[-1]
        rate = (n1 - n0) / (t1 - t0) if t1 > t0 and n1 > n0 else None
        self.progress.images_per_second = None if rate is None else round(rate, 2)
        known = self.progress.listed_all and rate and not self.progress.state.ended
        self.progress.eta_seconds = round(total.left / rate, 1) if known and rate else None
