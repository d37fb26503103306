"""Space on the disk: how much is free, and how much of it is reserved.

An Edge index maps its files. If the disk is full, the kernel answers a write into one of them with
SIGBUS, which ends the process at once. So everything that writes asks here first and leaves a
reserve. Once the reserve is reached, the service only reads, and says so, until there is space
again.

Whatever adds data – uploads, batches, ingestion, thumbnails – stops at `RESERVE`. What must still
be written then – deletions, which free space, the state of a batch, the log that is replayed when
an index is opened – may go down to `LAST_RESERVE`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from lookalike_crds.failures import STORAGE_FULL

RESERVE = 128 << 20
"""In bytes.

Opening an index takes up to 32 MiB and one write takes a few; several writes may run at once.
"""
LAST_RESERVE = 48 << 20


class NoRoom(OSError):
    """A write was refused before any part of it was done, because it would use the reserve."""

    failure_kind = STORAGE_FULL

    def __init__(self, message: str) -> None:
        super().__init__(errno.ENOSPC, message)
        self.message = message

    def __str__(self) -> str:
        return self.message


def free_bytes(folder: Path) -> int:
    """The bytes that may still be written to the folder's disk.

    Takes microseconds. The folder need not exist yet.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def size_on_disk(folder: Path) -> int:
    """The bytes that the folder's files occupy, without their holes."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # it was removed in the meantime
            total += file.lstat().st_blocks * 512 if file.is_file() else 0
    return total


def check_room(folder: Path, size: int = 0, *, reserve: int = RESERVE) -> None:
    """Raises NoRoom if `size` bytes more would leave less than `reserve` free."""
    free = free_bytes(folder)
    if free - size < reserve:
        raise NoRoom(no_room(free, size, reserve))


def no_room(free: int, size: int = 0, reserve: int = RESERVE) -> str:
    """What is free, what is needed, and the remedy."""
    needs = f", {size:,} are needed" if size else ""
    return (
        f"the disk of the data folder is full: {free:,} bytes are free{needs}, and {reserve:,} "
        "are reserved. Searches still work. Delete documents or unused indexes, or enlarge the "
        "disk; the service then continues by itself"
    )


def read_only(folders: Iterable[Path]) -> str | None:
    """Why nothing can be stored at present; None if it can."""
    for folder in folders:
        free = free_bytes(folder)
        if free < RESERVE:
            return no_room(free)
    return None
