"""Locks among the processes that share a folder.

The kernel gives up the lock of a process that is killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def locked(file: Path, waits: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold the lock `file`, which is made; yields whether it is held.

    If another process holds it, `waits` is called and the lock is waited for; without `waits`, it
    yields False at once. On a file system without locks, each process holds it. Raises OSError.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield _take(handle, waits)
    finally:
        os.close(handle)


def _take(handle: int, waits: Callable[[], None] | None) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waits is None:
            return False
        waits()
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    return True
