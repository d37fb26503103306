"""Rows of text, CSV, JSON Lines and Parquet files, one at a time and each within bounds.

What is wrong with one row – bytes that are not text, a line that is not JSON, a quote that is
never closed, a cell of megabytes – is that row's own fault: it comes out as `Unreadable` and the
next row is read. Only what concerns the whole file raises.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from pydantic_core import from_json

from lookalike_serving.images.files import open_regular
from lookalike_serving.ingest.sources.csv_rows import MAX_ROW, Line, Records
from lookalike_serving.ingest.sources.dialects import DAMAGE, Dialect, dialect_of, encoding_of
from lookalike_serving.ingest.sources.protocol import SourceError

MAX_ROWS = 20_000_000
"""Rows of one file."""

_BY_SUFFIX = {
    ".txt": "Text",
    ".list": "Text",
    ".csv": "Csv",
    ".tsv": "Csv",
    ".tab": "Csv",
    ".jsonl": "JsonLines",
    ".ndjson": "JsonLines",
    ".parquet": "Parquet",
    ".pq": "Parquet",
}


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


def metadata_format(path: str) -> str:
    """Of a metadata file. Excel gives its "Unicode text" the suffix of a plain list, which could
    not say anything of an image. Raises SourceError."""
    format_ = format_of(path)
    return "Csv" if format_ == "Text" else format_


class Table:
    """One file, read once from its first row to its last."""

    def __init__(
        self, path: Path, format_: str, *, text_column: str, columns: Collection[str] | None = None
    ) -> None:
        """`text_column`: the column that names the image, which a CSV header is known by; lines of
        a Text file become `{text_column: line}`. With `columns`, a Parquet file is read for these
        alone."""
        self.path = path
        self.format = format_
        self.notes: list[str] = []
        """What is odd about the file as a whole, each with what to do; complete at the end."""
        self._text_column = text_column
        self._columns = columns

    @cached_property
    def dialect(self) -> Dialect:
        """How a file of text is written. Raises SourceError."""
        try:
            if self.format == "Csv":
                return dialect_of(self.path, self._text_column)
            return Dialect(encoding_of(self.path, may_be_windows=False))
        except OSError as error:
            raise _unreadable(self.path, error) from None

    def __iter__(self) -> Iterator[Row]:
        """Each row. Raises SourceError for what concerns the file as a whole, and after MAX_ROWS
        rows."""
        try:
            for number, row in enumerate(self._rows()):
                if number == MAX_ROWS:
                    raise SourceError(
                        f"{self.path} has more than {MAX_ROWS:,} rows: split it; what comes after "
                        "them was not read"
                    )
                yield row
        except OSError as error:
            raise _unreadable(self.path, error) from None

    def _rows(self) -> Iterator[Row]:
        if self.format == "Parquet":
            # Imported here: it starts a process of its own, which imports this module.
            from lookalike_serving.ingest.sources.parquet import parquet_rows

            yield from parquet_rows(self.path, self._columns)
            return
        encoding = self.dialect.encoding
        with os.fdopen(open_regular(self.path), encoding=encoding, errors=DAMAGE, newline="") as f:
            lines = _lines(f, self.dialect.encoding_name)
            if self.format == "Csv":
                yield from self._csv(lines)
            elif self.format == "JsonLines":
                yield from _json_lines(lines)
            else:
                yield from _texts(lines, self._text_column)

    def _csv(self, lines: Iterator[Line]) -> Iterator[Row]:
        dialect = self.dialect
        if dialect.encoding == "cp1252":
            self.notes.append(
                "is no UTF-8 and was read as Windows-1252: save it as UTF-8 if letters are wrong"
            )
        if dialect.said:
            next(lines, None)
        header: _Header | None = None
        for first, cells in Records(lines, dialect.separator):
            if isinstance(cells, str):
                if header is None:
                    raise SourceError(f"{self.path} {first.place}, the header, {cells}")
                yield Unreadable(first.place, cells)
            elif not cells:
                continue
            elif header is None:
                header = _Header(cells)
                self.notes += header.notes
            elif any(cells[header.width :]):
                told = (
                    f"has {len(cells)} cells, the header has {header.width}: put texts that hold "
                    f"the separator {dialect.separator!r} in quotes"
                )
                yield Unreadable(first.place, told)
            else:
                yield header.row(cells)
        if header is not None and header.filled_nameless:
            self.notes.append(
                f"has values in column {header.filled_nameless}, which the header gives no name: "
                "it was left out; name it to have it"
            )


class _Header:
    """The names of the columns. One that has none, or the name of an earlier one, is left out."""

    def __init__(self, cells: list[str]) -> None:
        names = [cell.strip() for cell in cells]
        self.width = len(names)
        self.notes = [
            f"has several columns {name!r:.100}: the first was read; rename the others"
            for name in dict.fromkeys(names)
            if name and names.count(name) > 1
        ]
        kept = {name: at for at, name in reversed(list(enumerate(names))) if name}
        self._kept = sorted(kept.items(), key=lambda each: each[1])
        self._names = names if len(kept) == len(names) else None
        self._nameless = [at for at, name in enumerate(names) if not name]
        self.filled_nameless: int | None = None
        """The first column without a name that has had a value, counted from 1."""

    def row(self, cells: list[str]) -> dict[str, Any]:
        """Cells that are missing at the end are None."""
        if len(cells) < self.width:
            cells = [*cells, *[None] * (self.width - len(cells))]  # type: ignore[list-item]
        if self._names is not None:
            return dict(zip(self._names, cells, strict=False))
        if self.filled_nameless is None:
            self.filled_nameless = next((at + 1 for at in self._nameless if cells[at]), None)
        return {name: cells[at] for name, at in self._kept}


def rows(
    path: Path, format_: str, *, text_column: str, columns: Collection[str] | None = None
) -> Iterator[Row]:
    """Each row of a Table as a dict."""
    return iter(Table(path, format_, text_column=text_column, columns=columns))


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(f"{path} cannot be read: {error.strerror or error}")


def _lines(file: TextIO, encoding: str) -> Iterator[Line]:
    number = 0
    while text := file.readline(MAX_ROW + 1):
        number += 1
        if len(text) > MAX_ROW:
            rest = text
            while rest and not rest.endswith(("\n", "\r")):
                rest = file.readline(MAX_ROW)
        yield Line(number, text, encoding)


def _texts(lines: Iterable[Line], column: str) -> Iterator[Row]:
    for line in lines:
        text = line.text.strip()
        if not text or text.startswith("#"):
            continue
        yield Unreadable(line.place, line.fault) if line.fault else {column: text}


def _json_lines(lines: Iterable[Line]) -> Iterator[Row]:
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
