"""A small file system of its own, which can be filled and emptied."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lookalike_serving.machine.disk import RESERVE, free_bytes

SIZE = RESERVE + (192 << 20)


@dataclass(frozen=True)
class Disk:
    """A file system of its own, and a file of somebody else's on it."""

    folder: Path

    def leave(self, free: int) -> None:
        """Let the other file grow or shrink until so many bytes are free."""
        other = self.folder / "other"
        other.unlink(missing_ok=True)
        with other.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free_bytes(self.folder) - free))

    def empty(self) -> None:
        (self.folder / "other").unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mounted at `folder`. Skips the test if that is not allowed."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command to make a small file system with")
    mount = ["mount", "-n", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"a small file system needs the right to mount one: {made.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
