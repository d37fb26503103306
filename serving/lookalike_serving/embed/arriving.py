"""How far weights are that are being fetched: a note beside them, which any process can read.

Whoever fetches a file writes `NAME.fetching`, about once a second, and removes it when the file is
there. So `lookalike status` and an ingestion pod tell of a download, whichever process or pod that
shares the folder does it. A note that nobody has written for a while is of a process that was
killed.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike_crds.progress import Fetching
from lookalike_serving.machine.files import write_atomically

_SUFFIX = ".fetching"
_WRITE_SECONDS = 1.0
_STALE_SECONDS = 300.0
"""A part of a large file may take minutes."""


class Arriving:
    """One file that is being fetched to, or near, `file`. Of several threads."""

    def __init__(self, file: Path, total: int, done: int = 0) -> None:
        self._note = file.with_name(f"{file.name}{_SUFFIX}")
        self._total, self._done = total, done
        self._written = 0.0
        self._lock = threading.Lock()
        self._write()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if time.monotonic() - self._written >= _WRITE_SECONDS:
                self._write()

    def close(self) -> None:
        """Idempotent."""
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)

    def _write(self) -> None:
        self._written = time.monotonic()
        said = {"done": self._done, "total": max(self._total, self._done)}
        # A full disk is reported by what is fetched.
        with contextlib.suppress(OSError):
            write_atomically(self._note, json.dumps(said).encode(), durable=False)


@dataclass(frozen=True, slots=True)
class _Note:
    done: int
    total: int


def arriving(folder: Path) -> Fetching | None:
    """All that is being fetched into `folder`, by any process; None: nothing."""
    notes = [note for file in folder.rglob(f"*{_SUFFIX}") if (note := _read(file)) is not None]
    if not notes:
        return None
    return Fetching(done=sum(n.done for n in notes), total=sum(n.total for n in notes))


def _read(file: Path) -> _Note | None:
    try:
        if time.time() - file.stat().st_mtime > _STALE_SECONDS:
            return None
        said: dict[str, Any] = json.loads(file.read_bytes())
        return _Note(int(said["done"]), int(said["total"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # removed since it was listed
