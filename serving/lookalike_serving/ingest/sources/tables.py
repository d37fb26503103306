"""Rows of text, CSV, JSON Lines and Parquet files, one at a time and each within bounds.

What is wrong with one row – bytes that are not UTF-8, a line that is not JSON, a quote that is
never closed, a cell of megabytes – is that row's own fault: it comes out as `Unreadable` and the
next row is read. Only what concerns the whole file raises.
"""

from __future__ import annotations

import csv
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic_core import from_json

from lookalike_serving.images.files import open_regular
from lookalike_serving.ingest.sources.protocol import SourceError

MAX_ROWS = 20_000_000
"""Rows of one file."""
MAX_ROW = 1024 * 1024
"""Characters of one row, and of one cell."""
_MAX_ROW_LINES = 1000
"""Lines that one CSV row may have within quotes."""

_BY_SUFFIX = {
    ".txt": "Text",
    ".list": "Text",
    ".csv": "Csv",
    ".jsonl": "JsonLines",
    ".ndjson": "JsonLines",
    ".parquet": "Parquet",
    ".pq": "Parquet",
}
# The standard library's own limit is a setting of the whole process, and lower.
csv.field_size_limit(MAX_ROW)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be read."""

    place: str
    """Such as `line 7`."""
    cause: str


Row = dict[str, Any] | Unreadable


def format_of(path: str, said: str = "Auto") -> str:
    """`Text`, `Csv`, `JsonLines` or `Parquet`, as said or by the name. Raises SourceError."""
    if said != "Auto":
        return said
    suffix = Path(path).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise SourceError(
            f"{path}: the name does not tell its format ({', '.join(_BY_SUFFIX)}): set format"
        )
    return _BY_SUFFIX[suffix]


def rows(
    path: Path, format_: str, *, text_column: str, columns: Collection[str] | None = None
) -> Iterator[Row]:
    """Each row as a dict; lines of a Text file become `{text_column: line}`.

    With `columns`, a Parquet file is read for these alone. Raises SourceError for what concerns the
    file as a whole, and after MAX_ROWS rows.
    """
    try:
        for number, row in enumerate(_rows(path, format_, text_column, columns)):
            if number == MAX_ROWS:
                raise SourceError(
                    f"{path} has more than {MAX_ROWS:,} rows: split it; what comes after them was "
                    "not read"
                )
            yield row
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from None


def _rows(
    path: Path, format_: str, text_column: str, columns: Collection[str] | None
) -> Iterator[Row]:
    if format_ == "Parquet":
        # Imported here: it starts a process of its own, which imports this module.
        from lookalike_serving.ingest.sources.parquet import parquet_rows

        yield from parquet_rows(path, columns)
        return
    with os.fdopen(
        open_regular(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
    ) as file:
        lines = _lines(path, file)
        if format_ == "Csv":
            yield from _csv(path, lines)
        elif format_ == "JsonLines":
            yield from _json_lines(lines)
        else:
            yield from _texts(lines, text_column)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    """With its end; cut where it is longer than MAX_ROW."""

    @property
    def place(self) -> str:
        return f"line {self.number:,}"

    @property
    def fault(self) -> str | None:
        if len(self.text) > MAX_ROW:
            return f"is longer than {MAX_ROW:,} characters"
        return None if is_text(self.text) else "is not UTF-8 text: save the file as UTF-8"


def is_text(text: str) -> bool:
    """Whether no byte of it was undecodable (`surrogateescape`)."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lines(path: Path, file: TextIO) -> Iterator[_Line]:
    number = 0
    while text := file.readline(MAX_ROW + 1):
        number += 1
        if number == 1 and text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
            raise SourceError(f"{path} is UTF-16: save it as UTF-8")
        if len(text) > MAX_ROW:
            rest = text
            while rest and not rest.endswith(("\n", "\r")):
                rest = file.readline(MAX_ROW)
        yield _Line(number, text)


def _texts(lines: Iterable[_Line], column: str) -> Iterator[Row]:
    for line in lines:
        text = line.text.strip()
        if not text or text.startswith("#"):
            continue
        yield Unreadable(line.place, line.fault) if line.fault else {column: text}


def _json_lines(lines: Iterable[_Line]) -> Iterator[Row]:
    for line in lines:
        if not line.text.strip():
            continue
        if line.fault:
            yield Unreadable(line.place, line.fault)
            continue
        try:
            row = from_json(line.text, allow_inf_nan=False)
        except ValueError as error:
            yield Unreadable(line.place, f"is not JSON: {error}")
            continue
        if isinstance(row, dict):
            yield row
        else:
            yield Unreadable(line.place, "is not an object: write {…} on each line")


def _csv(path: Path, lines: Iterator[_Line]) -> Iterator[Row]:
    records = _Records(lines)
    header: list[str] | None = None
    for first, cells in records:
        if isinstance(cells, str):
            if header is None:
                raise SourceError(f"{path} {first.place}, the header, {cells}")
            yield Unreadable(first.place, cells)
        elif not cells:
            continue
        elif header is None:
            header = cells
        elif any(cells[len(header) :]):
            told = f"has {len(cells)} cells, the header has {len(header)}: put texts in quotes"
            yield Unreadable(first.place, told)
        else:
            missing = [None] * (len(header) - len(cells))
            yield dict(zip(header, [*cells, *missing], strict=False))


class _Records:
    """CSV records with the line that each begins on; or, in place of cells, what is wrong.

    A record goes over several lines while a quote is open. If it never closes, or not within
    bounds, the first line is at fault, and reading goes on with the line after it.
    """

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._source = lines
        self._again: deque[_Line] = deque()
        self._taken: list[_Line] = []
        self._ended = False

    def __iter__(self) -> Iterator[tuple[_Line, list[str] | str]]:
        while True:
            self._taken = []
            self._ended = False
            fault: str | None
            try:
                cells = next(csv.reader(self._feed()))
            except StopIteration:
                return
            except (csv.Error, _TooLong) as error:
                cells, fault = [], f"is not CSV: {error}"
            else:
                fault = self._fault(cells)
            first = self._taken[0]
            if not fault:
                yield first, cells
                continue
            self._again.extendleft(reversed(self._taken[1:]))
            yield first, first.fault or fault

    def _feed(self) -> Iterator[str]:
        size = 0
        while True:
            line = self._again.popleft() if self._again else next(self._source, None)
            if line is None:
                self._ended = True
                return
            self._taken.append(line)
            size += len(line.text)
            if size > MAX_ROW or len(self._taken) > _MAX_ROW_LINES:
                raise _TooLong(
                    f"the row is longer than {MAX_ROW:,} characters or {_MAX_ROW_LINES:,} lines, "
                    "or a quote is not closed"
                )
            yield line.text

    def _fault(self, cells: list[str]) -> str | None:
        if self._ended and _is_open([line.text for line in self._taken]):
            return "is not CSV: a quote is opened and never closed"
        return None if all(map(is_text, cells)) else "is not UTF-8 text: save the file as UTF-8"


class _TooLong(Exception):
    """A CSV row went beyond its bounds."""


def _is_open(lines: list[str]) -> bool:
    """Whether a quote is open at the end."""
    try:
        list(csv.reader(lines, strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False
