"""Files of this machine by their `file://` address.

Ingestion reads whatever file a source lists. A service gives out what documents name, to whoever
may ask it, so it reads files of certain folders alone, and its errors tell nothing of the disk: the
same for what lies outside whether it exists or not.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from lookalike_serving.images.cells import Cells
from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import shown
from lookalike_serving.images.files import open_regular, read_regular
from lookalike_serving.images.members import Cell, Part, split


class LocalFiles:
    """The files of any folder. Raises ImageError with the system's own words."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._cells = Cells(max_bytes)

    async def read(self, address: str) -> bytes:
        where, part = split(address, self._max_bytes)
        try:
            if isinstance(part, Cell):
                return await self._cells.read(where, part, partial(_opened, _path_of(where)))
            return await asyncio.to_thread(
                read_regular, _path_of(where), self._max_bytes, part=part
            )
        except OSError as error:
            code = Code.TOO_LARGE if error.errno == errno.EFBIG else Code.NOT_FOUND
            raise ImageError(code, f"cannot be read: {error.strerror or error}") from None


class ServedFiles:
    """The files of some folders, links followed. `take_roots` replaces the folders."""

    def __init__(self, max_bytes: int, roots: Iterable[Path]) -> None:
        self._max_bytes = max_bytes
        self._cells = Cells(max_bytes)
        self.take_roots(roots)

    def take_roots(self, roots: Iterable[Path]) -> None:
        self._roots = tuple(root.resolve() for root in roots)

    async def read(self, address: str) -> bytes:
        where, part = split(address, self._max_bytes)
        if not isinstance(part, Cell):
            return await asyncio.to_thread(self._read, where, address, part)
        try:
            opened = partial(_opened, await asyncio.to_thread(self._locate, where), follow=False)
            return await self._cells.read(where, part, opened)
        except OSError:
            raise not_found(address) from None

    def version(self, address: str) -> str:
        """Changes when the file does. Blocks. Raises ImageError."""
        try:
            state = self._locate(address).stat()
        except OSError:
            raise not_found(address) from None
        return f"{state.st_mtime_ns}:{state.st_size}"

    def _read(self, where: str, address: str, part: Part | None) -> bytes:
        # Opened without following: between the check and now a link may have been put there.
        return read_or_not_found(self._locate(where), self._max_bytes, address, part)

    def _locate(self, address: str) -> Path:
        """The real path, links followed. Raises ImageError."""
        if urlsplit(address).netloc not in ("", "localhost"):
            raise _forbidden(address)
        path = _path_of(address)
        if not path.is_absolute() or "\x00" in str(path):
            raise _forbidden(address)
        try:
            real = path.resolve()
        except (OSError, RuntimeError):  # a loop of links
            raise not_found(address) from None
        if not any(real.is_relative_to(root) for root in self._roots):
            raise _forbidden(address)
        return real


def read_or_not_found(path: Path, max_bytes: int, address: str, part: Part | None = None) -> bytes:
    """A file that is no link, to be given out. Raises ImageError, which tells its address alone."""
    try:
        return read_regular(path, max_bytes, follow=False, part=part)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise not_found(address) from None
        raise ImageError(
            Code.TOO_LARGE,
            f"{shown(address)} has more bytes than the limit of {max_bytes:,}: use a smaller "
            "version of it",
        ) from None


def not_found(address: str) -> ImageError:
    told = f"there is no image at {shown(address)} any more: add it again"
    return ImageError(Code.NOT_FOUND, told)


def _forbidden(address: str) -> ImageError:
    return ImageError(
        Code.FORBIDDEN_PATH,
        f"{shown(address)} is outside the folders whose images may be served: add its folder to "
        "image_roots",
    )


def _opened(path: Path, *, follow: bool = True) -> tuple[BinaryIO, str]:
    """(the file, what changes when it does). Raises OSError."""
    file = os.fdopen(open_regular(path, follow=follow), "rb")
    state = os.fstat(file.fileno())
    return file, f"{state.st_size}-{state.st_mtime_ns}"


def _path_of(address: str) -> Path:
    # `as_uri` escapes the bytes of the name, which need not be UTF-8.
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(address).path)))
