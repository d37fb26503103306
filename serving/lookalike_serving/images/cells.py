"""Images that are values of Parquet files.

One process unpacks them, one image after the other: it goes through a row group forwards, so that
images that are asked for in the order of their rows are unpacked once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import BinaryIO

from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.members import Cell
from lookalike_serving.parquet import Damaged, NoImages, ParquetProcess, TooLarge

_IDLE_SECONDS = 20.0
"""After which the process ends: it holds about a hundred megabytes."""


class Cells:
    """Reads values of Parquet files. For one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._process = ParquetProcess()
        self._turn = asyncio.Lock()  # first come, first served
        self._ending: asyncio.TimerHandle | None = None

    async def read(
        self, where: str, cell: Cell, opened: Callable[[], tuple[BinaryIO, str]]
    ) -> bytes:
        """One value. `where`: the file's address; `opened`, which is called in a thread, gives the
        file, and a text that changes when the file does.

        Raises ImageError and what `opened` and its file raise.
        """

        def value() -> bytes:
            file, version = opened()
            with file:
                return self._process.image(file, f"{where} {version}", *cell, most=self._max_bytes)

        async with self._turn:
            if self._ending is not None:
                self._ending.cancel()
            try:
                return await asyncio.to_thread(value)
            except NoImages as error:
                raise ImageError(
                    Code.NOT_FOUND, f"{where[:200]} {error}: correct the row, or remove it"
                ) from None
            except TooLarge as error:
                raise ImageError(
                    Code.TOO_LARGE,
                    f"{where[:200]} {error}, more than the limit of {self._max_bytes:,}: use a "
                    "smaller version of it",
                ) from None
            except Damaged as error:
                raise ImageError(Code.CORRUPT, f"{where[:200]} {error}") from None
            finally:
                loop = asyncio.get_running_loop()
                self._ending = loop.call_later(_IDLE_SECONDS, self._process.close_if_idle)
