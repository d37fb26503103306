"""Opening only what is a file."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path, *, follow: bool = True) -> int:
    """A descriptor of a file, to read from. Raises OSError, for everything that is no file too.

    A pipe that nobody writes to does not block, and a device is not read. Without `follow`, a path
    that is a link is refused as well.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags if follow else flags | getattr(os, "O_NOFOLLOW", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no file but a folder, pipe, socket or device")
    return handle


def read_regular(
    path: Path, most: int, *, follow: bool = True, part: tuple[int, int] | None = None
) -> bytes:
    """The bytes of a file, or those of a part: (start, length).

    Raises OSError: EFBIG if there are more than `most`.
    """
    with os.fdopen(open_regular(path, follow=follow), "rb") as file:
        if part is not None:
            file.seek(part[0])
            return file.read(min(part[1], most))
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes (fetch.max_bytes)")
    return data
