"""Rows of a Parquet file, read by a process of its own with bounded memory.

A few hundred bytes of Parquet unpack to gigabytes: a page of repeated values, a dictionary entry
that every row refers to. How much, only unpacking tells. So a child process unpacks, under a limit
on its memory, and hands over one row after the other through a pipe; a row group that does not fit
is reported and the next one is read.

    python -m lookalike_serving.ingest.sources.parquet FILE COLUMNS BYTES     the child's side
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import resource
import subprocess
import sys
from collections.abc import Collection, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from lookalike_serving.images.files import open_regular
from lookalike_serving.ingest.sources.csv_rows import MAX_ROW
from lookalike_serving.ingest.sources.protocol import SourceError
from lookalike_serving.ingest.sources.tables import MAX_ROWS, Row, Unreadable

MEMORY_BYTES = 1024**3
"""What the child may take on top of its programs."""
_BATCH = 256


def parquet_rows(path: Path, columns: Collection[str] | None) -> Iterator[Row]:
    """Each row as plain JSON values, of these columns alone where given. Raises SourceError."""
    os.close(open_regular(path))  # the cause of a failure, before a process is started for it
    wanted = json.dumps(columns and sorted(columns))
    command = [sys.executable, "-m", __name__, str(path), wanted, str(MEMORY_BYTES)]
    # Arrow's other allocators reserve address space by the gigabyte.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert child.stdout is not None
    try:
        for line in child.stdout:
            kind, *rest = json.loads(line)
            match kind:
                case "row":
                    yield rest[0]
                case "unreadable":
                    yield Unreadable(*rest)
                case "failed":
                    raise SourceError(f"{path} {rest[0]}")
                case _:
                    return
        yield Unreadable(
            "the rest of the file",
            f"could not be unpacked within {MEMORY_BYTES // 1024**2:,} MiB of memory: write it "
            "with smaller row groups",
        )
    finally:
        child.kill()
        child.stdout.close()
        child.wait()


def _main(path: str, columns: list[str] | None, memory: int) -> None:
    import pyarrow.parquet as parquet

    _bound_memory(memory)
    try:
        file = parquet.ParquetFile(path)
        if file.metadata.num_rows > MAX_ROWS:
            told = f"has {file.metadata.num_rows:,} rows: at most {MAX_ROWS:,} are read, split it"
            _say("failed", told)
            return
        texts = [
            field.name for field in file.schema_arrow if str(field.type) in {"string", "binary"}
        ]
        # Values that repeat stay one value while they are in a dictionary.
        file = parquet.ParquetFile(path, read_dictionary=texts)
    except (OSError, ValueError, MemoryError) as error:
        _say("failed", f"is not Parquet: {error}")
        return
    wanted = None if columns is None else [n for n in file.schema_arrow.names if n in columns]
    for group in range(file.num_row_groups):
        number = 0
        try:
            for batch in file.iter_batches(
                _BATCH, row_groups=[group], columns=wanted, use_threads=False
            ):
                for at in range(batch.num_rows):
                    number += 1
                    _row(batch, at, f"row {number:,} of row group {group}")
        except (OSError, ValueError, MemoryError) as error:
            told = (
                f"needs more than {memory // 1024**2:,} MiB of memory: write smaller row groups"
                if isinstance(error, MemoryError)
                else f"is damaged: {error}"
            )
            _say("unreadable", f"row group {group} after row {number:,}", told[:300])
    _say("end")


def _row(batch: Any, at: int, place: str) -> None:
    try:
        cells = {name: batch.column(i)[at] for i, name in enumerate(batch.schema.names)}
        # Before it is copied: many rows may refer to one huge value.
        if sum(map(_length, cells.values())) > MAX_ROW:
            _say("unreadable", place, f"is longer than {MAX_ROW:,} characters")
            return
        line = json.dumps(["row", {name: _plain(cell.as_py()) for name, cell in cells.items()}])
    except (ValueError, MemoryError, RecursionError) as error:
        _say("unreadable", place, f"cannot be read: {error or type(error).__name__}"[:300])
        return
    sys.stdout.write(line + "\n")


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


def _say(*message: str) -> None:
    sys.stdout.write(json.dumps(message) + "\n")


def _bound_memory(memory: int) -> None:
    """From here on, so many bytes more than what is mapped already."""
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        _main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]))
