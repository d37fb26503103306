"""The child's side: unpacks what it is asked for, under a limit on its memory.

python -m lookalike_serving.parquet.child BYTES
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import resource
import sys
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as parquet

from lookalike_serving.parquet import frames

_BATCH = 256
_FRAME_CHARACTERS = 1024 * 1024
_BUFFER_BYTES = 4 * 1024 * 1024
"""Read at once of a column."""
_WINDOW_BYTES = 64 * 1024 * 1024
_BATCH_BYTES = 8 * 1024 * 1024
_FAILURES = (OSError, ValueError, MemoryError, NotImplementedError)


class _Refused(Exception):
    """What was asked cannot be had; told as it is: (kind, words)."""

    def __init__(self, kind: str, told: str) -> None:
        super().__init__(told)
        self.kind = kind


class _Parent:
    """The parent, at the other end of two pipes."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def asked(self) -> dict[str, Any] | None:
        """What it wants next; None: nothing more."""
        frame = frames.receive(self._incoming)
        return None if frame is None else frame[0][0]

    def say(self, *header: Any, payload: bytes = b"") -> None:
        frames.send(self._outgoing, list(header), payload)

    def range(self, start: int, length: int) -> bytes:
        """Raises OSError if the parent cannot read it; the parent knows why."""
        self.say("range", start, length)
        frame = frames.receive(self._incoming)
        if frame is None or frame[0][0] != "bytes":
            raise OSError("the file cannot be read")
        return frame[1]


class _File(io.RawIOBase):
    """The file, as the parent reads it."""

    def __init__(self, parent: _Parent, size: int) -> None:
        self._parent, self._size, self._at = parent, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._parent.range(self._at, wanted) if wanted else b""
        self._at += len(data)
        return data


def _opened(parent: _Parent, size: int, repeating: tuple[str, ...] = ()) -> Any:
    """Raises _Refused. `repeating`: types of columns whose values repeat, and stay one value while
    they are in a dictionary."""
    try:
        file = parquet.ParquetFile(_File(parent, size), buffer_size=_BUFFER_BYTES)
        if repeating:
            named = [f.name for f in file.schema_arrow if str(f.type) in repeating]
            again = {"metadata": file.metadata, "read_dictionary": named}
            file = parquet.ParquetFile(_File(parent, size), buffer_size=_BUFFER_BYTES, **again)
    except _FAILURES as error:
        raise _Refused("failed", f"is not Parquet: {error}"[:500]) from None
    return file


# --- rows -----------------------------------------------------------------------------------------


def _rows(parent: _Parent, asked: dict[str, Any], memory: int) -> None:
    """Every row. Raises _Refused."""
    # Bytes are no metadata of images, and are known by their type.
    repeating = ("string",) if asked["images"] else ("string", "binary")
    file = _opened(parent, asked["size"], repeating)
    count, most = file.metadata.num_rows, asked["most_rows"]
    if count > most:
        raise _Refused("failed", f"has {count:,} rows: at most {most:,} are read, split it")
    schema, wanted = file.schema_arrow, asked["columns"]
    if asked["images"]:
        column, leaf = _image_column(schema, asked["image_column"])
        parent.say("image", leaf)
        columns = _beside(schema, column, leaf, wanted)
    else:
        columns = [name for name in schema.names if wanted is None or name in wanted]
    for group in range(file.num_row_groups):
        number = 0
        try:
            for first, rows in _of_group(file, group, columns, asked["most_row"]):
                parent.say("rows", group, first, rows)
                number = first + len(rows)
        except _FAILURES as error:
            told = (
                f"needs more than {memory // 1024**2:,} MiB of memory: write smaller row groups"
                if isinstance(error, MemoryError)
                else f"is damaged: {error}"
            )
            parent.say("unreadable", f"row group {group} after row {number:,}", told[:300])
    parent.say("end")


def _of_group(
    file: Any, group: int, columns: list[str], longest: int
) -> Iterator[tuple[int, list[Any]]]:
    """(number of the first, rows), as many rows as fit a frame. A row is an object, or what is
    wrong with it as a text."""
    first, rows, length = 0, list[Any](), 0
    if not columns:
        for first in range(0, file.metadata.row_group(group).num_rows, _BATCH):
            left = file.metadata.row_group(group).num_rows - first
            yield first, [{} for _ in range(min(_BATCH, left))]
        return
    for batch in file.iter_batches(_BATCH, row_groups=[group], columns=columns, use_threads=False):
        for at in range(batch.num_rows):
            row, size = _row(batch, at, longest)
            rows.append(row)
            length += size
            if length > _FRAME_CHARACTERS or len(rows) == _BATCH:
                yield first, rows
                first, rows, length = first + len(rows), [], 0
    if rows:
        yield first, rows


def _row(batch: Any, at: int, longest: int) -> tuple[Any, int]:
    """(row, about its characters)."""
    try:
        cells = {name: batch.column(i)[at] for i, name in enumerate(batch.schema.names)}
        # Before it is copied: many rows may refer to one huge value.
        size = sum(map(_length, cells.values()))
        if size > longest:
            return f"is longer than {longest:,} characters", 0
        row = {name: _plain(cell.as_py()) for name, cell in cells.items()}
        json.dumps(row)
    except (ValueError, TypeError, MemoryError, RecursionError) as error:
        return f"cannot be read: {error or type(error).__name__}"[:300], 0
    return row, size


def _length(cell: Any) -> int:
    """Bytes of a text; 0 for anything else."""
    inner = getattr(cell, "value", cell)  # of a dictionary's entry
    buffer = inner.as_buffer() if hasattr(inner, "as_buffer") else None
    return 0 if buffer is None else int(buffer.size)


def _plain(value: Any) -> Any:
    """The value as JSON has it. Raises ValueError if JSON has nothing like it."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime.datetime() | datetime.date():
            return value.isoformat().replace("+00:00", "Z")
        case datetime.time() | datetime.timedelta():
            return str(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes():
            return value.decode()
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return str(value)


# --- images ---------------------------------------------------------------------------------------


def _of_bytes(kind: Any) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or (hasattr(pa.types, "is_binary_view") and pa.types.is_binary_view(kind))
    )


def _leaves(field: Any) -> list[str]:
    """The columns of bytes within a column: itself, or those of an object, as datasets of Hugging
    Face have them: `{bytes, path}`."""
    if _of_bytes(field.type):
        return [field.name]
    if pa.types.is_struct(field.type):
        return [f"{field.name}.{each.name}" for each in field.type if _of_bytes(each.type)]
    return []


def _image_column(schema: Any, said: str | None) -> tuple[str, str]:
    """(column, the column of bytes in it). Raises _Refused."""
    found = {field.name: leaves for field in schema if (leaves := _leaves(field))}
    if said is not None:
        for column, leaves in found.items():
            if said in leaves or (said == column and len(leaves) == 1):
                return column, said if said in leaves else leaves[0]
        named = ", ".join(leaf for leaves in found.values() for leaf in leaves) or "none"
        told = f"has no column {said!r} of bytes, as imageColumn says (columns of bytes: {named})"
        raise _Refused("failed", told[:500])
    if len(found) > 1 and "image" in found:
        found = {"image": found["image"]}
    one = [(column, leaf) for column, leaves in found.items() for leaf in leaves]
    if not one:
        raise _Refused("no images", "has no column of bytes")
    if len(one) > 1:
        named = ", ".join(leaf for _, leaf in one)
        told = f"has several columns of bytes ({named}): set imageColumn"
        raise _Refused("failed", told[:500])
    return one[0]


def _beside(schema: Any, column: str, leaf: str, wanted: list[str] | None) -> list[str]:
    """The columns of an image's metadata: all but bytes, which is what metadata is not."""
    columns = []
    for field in schema:
        if wanted is not None and field.name not in wanted:
            continue
        if not _leaves(field):
            columns.append(field.name)
        elif pa.types.is_struct(field.type):
            columns += [f"{field.name}.{f.name}" for f in field.type if not _of_bytes(f.type)]
    return columns


class _Cursor:
    """Goes forwards through one column of one row group, and remembers the rows just passed."""

    def __init__(self, file: Any, group: int, column: str) -> None:
        """Raises _Refused."""
        if not 0 <= group < file.num_row_groups:
            raise _Refused("no image", f"has no row group {group}")
        self.key = (group, column)
        meta = file.metadata.row_group(group)
        chunks = (meta.column(at) for at in range(meta.num_columns))
        chunk = next((each for each in chunks if each.path_in_schema == column), None)
        if chunk is None:
            raise _Refused("no image", f"has no column {column!r:.200}")
        self.rows = meta.num_rows
        average = max(1, chunk.total_uncompressed_size // max(1, meta.num_rows))
        size = max(1, min(64, _BATCH_BYTES // average))
        self._batches = file.iter_batches(
            size, row_groups=[group], columns=[column], use_threads=False
        )
        self._path = column.split(".")
        self._window: deque[tuple[int, Any]] = deque()
        self._next = 0

    def has_passed(self, row: int) -> bool:
        """Whether a row is behind, and no longer remembered."""
        return row < (self._window[0][0] if self._window else self._next)

    def value(self, row: int) -> Any:
        """The buffer of a row's bytes; None if it has none."""
        while row >= self._next:
            batch = next(self._batches, None)
            if batch is None:
                raise ValueError("the row group ends before its last row")
            while self._window and sum(a.nbytes for _, a in self._window) > _WINDOW_BYTES:
                self._window.popleft()
            self._window.append((self._next, _inner(batch, self._path)))
            self._next += batch.num_rows
        for first, array in reversed(self._window):
            if first <= row:
                return array[row - first].as_buffer()
        raise ValueError("the row was passed")  # `has_passed` was not asked


def _inner(batch: Any, path: list[str]) -> Any:
    array = batch.column(0)
    for name in path[1:]:
        array = pa.compute.struct_field(array, name)
    return array


class _Images:
    """Images of the file that was asked for last."""

    def __init__(self, parent: _Parent) -> None:
        self._parent = parent
        self._token: str | None = None
        self._file: Any = None
        self._cursor: _Cursor | None = None

    def answer(self, asked: dict[str, Any]) -> None:
        """Raises _Refused and what reading raises."""
        group, row, most = asked["group"], asked["row"], asked["most"]
        if asked["token"] != self._token:
            self.forget()
            self._file = _opened(self._parent, asked["size"])
            self._token = asked["token"]
        key = (group, asked["column"])
        if self._cursor is None or self._cursor.key != key or self._cursor.has_passed(row):
            self._cursor = None
            self._cursor = _Cursor(self._file, *key)
        buffer = self._cursor.value(row) if 0 <= row < self._cursor.rows else None
        if buffer is None:
            raise _Refused("no image", f"has no image in row {row:,} of row group {group}")
        if buffer.size > most:
            raise _Refused("too large", str(buffer.size))
        self._parent.say("image", payload=buffer.to_pybytes())

    def forget(self) -> None:
        self._token = self._file = self._cursor = None


# --------------------------------------------------------------------------------------------------


def _main(memory: int) -> None:
    import pyarrow.compute  # noqa: F401  # before memory is limited

    parent = _Parent(sys.stdin.buffer, sys.stdout.buffer)
    images = _Images(parent)
    _bound_memory(memory)
    while (asked := parent.asked()) is not None:
        try:
            if asked["do"] == "rows":
                _rows(parent, asked, memory)
            else:
                images.answer(asked)
        except _Refused as refused:
            parent.say(refused.kind, str(refused))
        except MemoryError:
            images.forget()
            told = f"needs more than {memory // 1024**2:,} MiB of memory: write smaller row groups"
            parent.say("failed", told)
        except _FAILURES as error:
            images.forget()
            parent.say("failed", f"is damaged: {error}"[:300])


def _bound_memory(memory: int) -> None:
    """From here on, so many bytes more than what is mapped already."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        _main(int(sys.argv[1]))
