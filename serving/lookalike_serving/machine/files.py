"""Writing files so that a crash leaves the old content, the new one, or no file at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def write_atomically(
    path: Path, content: bytes, *, mode: int = 0o644, durable: bool = True
) -> None:
    """Replace the file at `path`: readers see the old content or the new one, never a part.

    `durable`: it is on the disk when this returns. Raises OSError.
    """
    write_together({path: content}, mode=mode, durable=durable)


def write_together(
    contents: Mapping[Path, bytes], *, mode: int = 0o644, durable: bool = True
) -> None:
    """Replace several files, each as `write_atomically` does, in this order.

    All are written before the first one is replaced, so a full disk leaves every one as it was.
    Raises OSError.
    """
    written: dict[Path, str] = {}
    try:
        for path, content in contents.items():
            handle, scratch = tempfile.mkstemp(
                dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
            )
            written[path] = scratch
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.chmod(scratch, mode)
        for path, scratch in written.items():
            os.replace(scratch, path)
    except BaseException:
        for scratch in written.values():
            with contextlib.suppress(OSError):
                os.unlink(scratch)
        raise
    if durable:
        for folder in {path.parent for path in written}:
            _sync_folder(folder)


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
