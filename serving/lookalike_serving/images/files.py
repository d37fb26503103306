"""Opening only what is a file; writing files so that a crash leaves the old, the new, or none."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path


def write_atomically(path: Path, data: bytes, *, durable: bool) -> None:
    """Put `data` at `path`, making its folder. `durable`: on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise
    if durable:
        _sync_folder(path.parent)


def open_regular(path: Path) -> int:
    """A descriptor of a file, to read from. Raises OSError, for everything that is no file too.

    A pipe that nobody writes to does not block, and a device is not read.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file but a folder, pipe, socket or device")
    return handle


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a file. Raises OSError, also where there are more than `most`."""
    with os.fdopen(open_regular(path), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes (fetch.max_bytes)")
    return data


def _sync_folder(folder: Path) -> None:
    """A new name is only durable once its folder is written."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders; there the rename is enough
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
