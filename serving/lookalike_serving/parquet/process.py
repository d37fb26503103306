"""The parent's side of the process that unpacks Parquet."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from lookalike_serving.parquet import frames

MEMORY_BYTES = 1024**3
"""What the child may take on top of its programs."""


class Damaged(Exception):
    """The file is not Parquet, or cannot be unpacked; the message follows the file's name."""


class NoImages(Exception):
    """The file, or the row, has no image; the message follows the file's name."""


class TooLarge(Exception):
    """The image has more bytes than may be read: `size`."""

    def __init__(self, size: int) -> None:
        super().__init__(f"has an image of {size:,} bytes")
        self.size = size


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row, or the rest of a row group, that cannot be read."""

    place: str
    """Such as `row 7 of row group 0`."""
    cause: str
    hides: bool = True
    """Whether it may stand for several rows."""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row that has an image beside its other columns."""

    group: int
    row: int
    """Within its row group, from 0."""
    column: str
    """The column of bytes, such as `image` or `image.bytes`."""
    cells: dict[str, Any]


class ParquetProcess:
    """One child process, started when it is first asked. Its methods block; one at a time."""

    def __init__(self, memory: int | None = None) -> None:
        """`memory`: bytes; MEMORY_BYTES if it is not given."""
        self._memory = MEMORY_BYTES if memory is None else memory
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._ended: weakref.finalize[Any, Any] | None = None

    def rows(
        self,
        file: BinaryIO,
        *,
        most_rows: int,
        most_row: int,
        columns: Collection[str] | None = None,
    ) -> Iterator[dict[str, Any] | BadRow]:
        """Each row as plain JSON values, of these columns alone if they are given.

        `most_rows`: rows of the file; `most_row`: characters of a row. Raises Damaged for what
        concerns the whole file, and what `file` raises.
        """
        for _, _, _, row in self._rows(file, most_rows, most_row, columns):
            yield row

    def image_rows(
        self,
        file: BinaryIO,
        *,
        image_column: str | None,
        most_rows: int,
        most_row: int,
        columns: Collection[str] | None = None,
    ) -> Iterator[ImageRow | BadRow]:
        """Each row without the bytes of its image, which are not read.

        Raises NoImages if there is no column of bytes, Damaged, and what `file` raises.
        """
        found = self._rows(
            file, most_rows, most_row, columns, images=True, image_column=image_column
        )
        for leaf, group, at, row in found:
            yield row if isinstance(row, BadRow) else ImageRow(group, at, leaf, row)

    def image(
        self, file: BinaryIO, token: str, group: int, row: int, column: str, most: int
    ) -> bytes:
        """The bytes of one image, of which only its row group is read.

        `token` stays the same as long as the file does. Raises NoImages, TooLarge, Damaged, and
        what `file` raises.
        """
        asked = {
            "do": "image",
            "token": token,
            "size": _size(file),
            "group": group,
            "row": row,
            "column": column,
            "most": most,
        }
        with self._lock:
            for _, payload in self._answers(asked, file):
                return payload
        raise AssertionError("a child always answers")

    def close(self) -> None:
        """End the child; the next question starts another."""
        if self._ended is not None:
            self._ended()
        self._child = self._ended = None

    def close_if_idle(self) -> None:
        """End the child unless it is answering. Does not block."""
        if self._lock.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._lock.release()

    def _rows(
        self,
        file: BinaryIO,
        most_rows: int,
        most_row: int,
        columns: Collection[str] | None,
        images: bool = False,
        image_column: str | None = None,
    ) -> Iterator[tuple[str, int, int, Any]]:
        """(column of bytes, row group, row, row or BadRow)."""
        asked = {
            "do": "rows",
            "size": _size(file),
            "columns": None if columns is None else sorted(columns),
            "most_rows": most_rows,
            "most_row": most_row,
            "images": images,
            "image_column": image_column,
        }
        leaf = ""
        with self._lock:
            ended = False
            try:
                for header, _ in self._answers(asked, file):
                    match header:
                        case ["image", leaf]:
                            pass
                        case ["rows", group, first, rows]:
                            for at, row in enumerate(rows, first):
                                if isinstance(row, str):
                                    place = f"row {at + 1:,} of row group {group}"
                                    row = BadRow(place, row)
                                yield leaf, group, at, row
                        case ["unreadable", place, cause]:
                            yield leaf, 0, 0, BadRow(place, cause)
                        case ["end"]:
                            ended = True
                            return
                        case ["gone"]:
                            ended = True
                            told = f"could not be unpacked within {self._mib} MiB of memory: "
                            cause = told + "write it with smaller row groups"
                            yield leaf, 0, 0, BadRow("the rest of the file", cause)
                            return
            except (Damaged, NoImages):
                ended = True
                raise
            finally:
                if not ended:
                    self.close()  # it is in the middle of an answer that nobody wants

    def _answers(self, asked: dict[str, Any], file: BinaryIO) -> Iterator[tuple[list[Any], bytes]]:
        """What the child answers, while it is given the ranges that it asks for."""
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        failure: Exception | None = None
        try:
            frames.send(child.stdin, [asked])
            while (frame := frames.receive(child.stdout)) is not None:
                header, payload = frame
                if header[0] == "range":
                    try:
                        data = _range(file, header[1], header[2])
                    except Exception as error:
                        failure = error
                        frames.send(child.stdin, ["failed"])
                    else:
                        frames.send(child.stdin, ["bytes"], data)
                    continue
                if failure is not None:
                    self.close()
                    raise failure
                match header:
                    case ["failed", told]:
                        raise Damaged(told)
                    case ["no images" | "no image", told]:
                        raise NoImages(told)
                    case ["too large", size]:
                        raise TooLarge(int(size))
                yield header, payload
        except BrokenPipeError:
            pass
        self.close()
        if failure is not None:
            raise failure
        if asked["do"] == "rows":
            yield ["gone"], b""
        told = f"could not be unpacked within {self._mib} MiB of memory: write smaller row groups"
        raise Damaged(told)

    @property
    def _mib(self) -> str:
        return f"{self._memory // 1024**2:,}"

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            command = [sys.executable, "-m", "lookalike_serving.parquet.child", str(self._memory)]
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Arrow's other allocators reserve address space by the gigabyte.
                env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
            )
            self._ended = weakref.finalize(self, _end, self._child)
        return self._child


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    child.wait()


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _range(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
