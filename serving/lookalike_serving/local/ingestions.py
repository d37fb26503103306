"""Runs the collections' ingestions, one after the other, each as a child process.

One at a time, since each uses every core. A child that a signal ended – out of memory, say – is
started again a few times: a rerun skips what is there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from lookalike_crds.config import IngestionConfig
from lookalike_serving.local.rundir import (
    IngestionPhase,
    IngestionState,
    RunDirectory,
    write_atomically,
)

_ATTEMPTS = 3
_COMPLETE, _WITH_ERRORS = 0, 3
"""Exit codes of a run that came to its end."""
_NICENESS = 10
"""Searches go first."""
_TAIL_BYTES = 4096
_PATIENCE_SECONDS = 10.0

log = logging.getLogger("lookalike.local")


class Ingestions:
    """The ingestions of one server. `report` is called from its thread with each change."""

    def __init__(
        self,
        run: RunDirectory,
        ray_address: str,
        report: Callable[[IngestionState], None],
    ) -> None:
        self._run = run
        self._ray_address = ray_address
        self._report = report
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, configs: dict[str, Path]) -> None:
        self._thread = threading.Thread(
            target=self._work, args=(configs,), name="ingestions", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the child that runs, and start no other."""
        self._stopping.set()
        with self._lock:
            child = self._child
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            try:
                child.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._thread is not None:
            self._thread.join(_PATIENCE_SECONDS)

    def _work(self, configs: dict[str, Path]) -> None:
        for collection, path in configs.items():
            if self._stopping.is_set():
                return
            try:
                ended = self._ingest(collection, path)
            except Exception as failure:
                log.exception("the ingestion of %s could not be run", collection)
                told = f"{type(failure).__name__}: {failure}"
                ended = IngestionState(collection, IngestionPhase.FAILED, error=told)
            self._report(ended)

    def _ingest(self, collection: str, path: Path) -> IngestionState:
        """How it ended."""
        config = IngestionConfig.model_validate_json(path.read_bytes())
        config = config.model_copy(update={"ray_address": self._ray_address})
        write_atomically(path, config.model_dump_json(indent=2, by_alias=True).encode())
        for attempt in range(1, _ATTEMPTS + 1):
            code = self._attempt(collection, path)
            if code == _COMPLETE or self._stopping.is_set():
                return IngestionState(collection, IngestionPhase.DONE)
            if code > 0:
                break
            log.error("signal %d ended the ingestion of %s (%d)", -code, collection, attempt)
        told = _last_words(self._run.ingestion_log(collection)) or f"it ended with code {code}"
        phase = IngestionPhase.INCOMPLETE if code == _WITH_ERRORS else IngestionPhase.FAILED
        return IngestionState(collection, phase, error=told)

    def _attempt(self, collection: str, path: Path) -> int:
        command = [sys.executable, "-m", "lookalike_serving.ingest", "--config", str(path)]
        with self._run.ingestion_log(collection).open("wb") as output:
            with self._lock:
                if self._stopping.is_set():
                    return 0
                child = self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, child.pid, _NICENESS)
            self._report(IngestionState(collection, IngestionPhase.RUNNING, child.pid))
            return child.wait()


def _last_words(path: Path) -> str:
    """The last line of a log that says something."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
