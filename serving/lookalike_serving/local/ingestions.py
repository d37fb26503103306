"""Runs the ingestions of the collections, one after the other, each as a child process.

One at a time, because each uses every core. A child that was ended by a signal, for example because
memory ran out, is started again a few times: a rerun skips what is there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lookalike_crds.config import IngestionConfig
from lookalike_crds.failures import RunExit
from lookalike_serving.machine.files import write_atomically
from lookalike_serving.machine.rundir import (
    IngestionPhase,
    IngestionState,
    RunDirectory,
)

_ATTEMPTS = 3
_NICENESS = 10
"""Searches have priority."""
_TAIL_BYTES = 4096
_PATIENCE_SECONDS = 10.0

log = logging.getLogger("lookalike.local")


@dataclass(slots=True)
class _Run:
    collection: str
    config: Path
    ended: Callable[[IngestionState], IngestionState]
    child: subprocess.Popen[bytes] | None = None
    called_off: bool = False


class Ingestions:
    """The ingestions of one server, one for each collection.

    `report` is called from its thread with each change.
    """

    def __init__(
        self,
        run: RunDirectory,
        ray_address: str,
        report: Callable[[IngestionState], None],
    ) -> None:
        self._run = run
        self._ray_address = ray_address
        self._report = report
        self._changed = threading.Condition()
        self._waiting: dict[str, _Run] = {}
        self._running: _Run | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="ingestions", daemon=True)
        self._thread.start()

    def __contains__(self, collection: str) -> bool:
        """Whether the collection is being read, or is waiting to be."""
        with self._changed:
            running = self._running is not None and self._running.collection == collection
            return running or collection in self._waiting

    def add(
        self,
        collection: str,
        config: Path,
        ended: Callable[[IngestionState], IngestionState] = lambda state: state,
    ) -> None:
        """Read a collection's sources when it is its turn; replaces a run that waits.

        `ended` is called with the outcome and returns what is to be reported.
        """
        self.call_off(collection)
        with self._changed:
            self._waiting[collection] = _Run(collection, config, ended)
            self._changed.notify()

    def call_off(self, collection: str) -> None:
        """Stop reading the collection, or do not start; nothing more is reported about it."""
        with self._changed:
            self._waiting.pop(collection, None)
            if self._running is not None and self._running.collection == collection:
                _end(self._running)

    def stop(self) -> None:
        """End the running child, and start no other."""
        with self._changed:
            self._stopping = True
            self._waiting.clear()
            running = self._running
            if running is not None:
                _end(running)
            self._changed.notify()
        if running is not None and running.child is not None:
            try:
                running.child.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                running.child.kill()
        self._thread.join(_PATIENCE_SECONDS)

    def _work(self) -> None:
        while (run := self._next()) is not None:
            try:
                ended = self._ingest(run)
            except Exception as failure:
                log.exception("the ingestion of %s could not be run", run.collection)
                told = f"{type(failure).__name__}: {failure}"
                ended = IngestionState(run.collection, IngestionPhase.FAILED, error=told)
            if not run.called_off:
                ended = run.ended(ended)
            with self._changed:
                self._running = None
                if not run.called_off:
                    self._report(ended)

    def _next(self) -> _Run | None:
        """Wait for the next run; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if self._stopping:
                return None
            self._running = self._waiting.pop(next(iter(self._waiting)))
            return self._running

    def _ingest(self, run: _Run) -> IngestionState:
        """How it ended."""
        collection = run.collection
        config = IngestionConfig.model_validate_json(run.config.read_bytes())
        config = config.model_copy(update={"ray_address": self._ray_address})
        write_atomically(run.config, config.model_dump_json(indent=2, by_alias=True).encode())
        for attempt in range(1, _ATTEMPTS + 1):
            code = self._attempt(run)
            if code == RunExit.COMPLETE or run.called_off:
                return IngestionState(collection, IngestionPhase.DONE)
            if code > 0:
                break
            log.error("signal %d ended the ingestion of %s (%d)", -code, collection, attempt)
        told = _last_words(self._run.ingestion_log(collection)) or f"it ended with code {code}"
        phase = IngestionPhase.INCOMPLETE if code == RunExit.WITH_ERRORS else IngestionPhase.FAILED
        return IngestionState(collection, phase, error=told)

    def _attempt(self, run: _Run) -> int:
        command = [sys.executable, "-m", "lookalike_serving.ingest", "--config", str(run.config)]
        with self._run.ingestion_log(run.collection).open("wb") as output:
            with self._changed:
                if run.called_off:
                    return 0
                child = run.child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
                with contextlib.suppress(ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, child.pid, _NICENESS)
                self._report(IngestionState(run.collection, IngestionPhase.RUNNING, child.pid))
            return child.wait()


def _end(run: _Run) -> None:
    run.called_off = True
    if run.child is not None:
        with contextlib.suppress(ProcessLookupError):
            run.child.terminate()


def _last_words(path: Path) -> str:
    """The last line of a log that is not empty."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
