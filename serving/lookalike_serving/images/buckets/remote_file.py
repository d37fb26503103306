"""An object as a file that is read forwards, by ranges."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine
from typing import Any

_READ_AHEAD = 1024 * 1024


class RemoteFile(io.RawIOBase):
    """An object as a file that is read forwards, for a thread beside the event loop.

    `read_range` is a coroutine function of (start, length).
    """

    def __init__(
        self,
        size: int,
        read_range: Callable[[int, int], Coroutine[Any, Any, bytes]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._size = size
        self._read_range = read_range
        self._loop = loop
        self._at = 0
        self._ahead, self._ahead_at = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size < 0 else min(size, left)
        begin = self._at - self._ahead_at
        if wanted and not (begin >= 0 and begin + wanted <= len(self._ahead)):
            length = min(max(wanted, _READ_AHEAD), left)
            asked = asyncio.run_coroutine_threadsafe(self._read_range(self._at, length), self._loop)
            self._ahead, self._ahead_at, begin = asked.result(), self._at, 0
        self._at += wanted
        return self._ahead[begin : begin + wanted]
