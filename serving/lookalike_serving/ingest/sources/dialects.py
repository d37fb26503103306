"""How a table of text is written, found from what it holds: encoding, separator, decimal sign.

Spreadsheets write what their language settings say: commas, semicolons or tabs between cells,
decimal commas, UTF-16 or Windows-1252. None of it is stated in the file but by a byte order mark
or Excel's `sep=` line, so the rest is judged by the header and the first rows.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lookalike_serving.images.files import open_regular

_SAMPLE_BYTES = 64 * 1024
_SAMPLE_ROWS = 100
_CHUNK_BYTES = 1024 * 1024
_SEPARATORS = (",", ";", "\t", "|")
_MARKS = (  # the longer ones first: UTF-32's begins like UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMES = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "utf-32": "UTF-32", "cp1252": "Windows-1252"}
_SAID = re.compile(r"""sep=(\t|[^\w\s"'.+-])\s*""", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,([0-9]{1,2}|[0-9]{4,})")
"""No thousands: `1,234` may be either."""

UNDECODABLE = "\udc80"
"""Stands for bytes that are no text in the file's encoding. No encoding has it."""
DAMAGE = "lookalike-damage"
"""The error handler that writes it."""
codecs.register_error(DAMAGE, lambda error: (UNDECODABLE, error.end))  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one file is written."""

    encoding: str = "utf-8-sig"
    """For Python; a byte order mark is not part of the text."""
    separator: str = ","
    """Between the cells of a row."""
    said: bool = False
    """Whether the first line only says the separator (`sep=;`)."""
    decimal_comma: bool = False
    """Whether numbers are written as `12,50`."""

    @property
    def encoding_name(self) -> str:
        """For people."""
        return _NAMES[self.encoding]


def encoding_of(path: Path, *, may_be_windows: bool) -> str:
    """By its byte order mark, else UTF-8; Windows-1252 where allowed and no byte speaks for UTF-8.

    Reads the whole file where it may be Windows-1252. Raises OSError.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        return _encoding(file, may_be_windows)


def dialect_of(path: Path, key_column: str) -> Dialect:
    """Of a CSV file, whose header is expected to have `key_column`. Raises OSError."""
    with os.fdopen(open_regular(path), "rb") as file:
        encoding = _encoding(file, may_be_windows=True)
        file.seek(0)
        raw = file.read(_SAMPLE_BYTES)
        whole = len(raw) < _SAMPLE_BYTES
    text = codecs.getincrementaldecoder(encoding)(DAMAGE).decode(raw, final=whole)
    lines = list(io.StringIO(text, newline=""))
    if not whole and len(lines) > 1:
        del lines[-1]
    if lines and (found := _SAID.fullmatch(lines[0])):
        separator, said = found[1], True
        rows = _rows(lines[1:], separator)
    else:
        said = False
        candidates = list(_SEPARATORS)
        if path.suffix.lower() in {".tsv", ".tab"}:
            candidates.sort(key=lambda each: each != "\t")
        read = {each: _rows(lines, each) for each in candidates}
        separator = max(candidates, key=lambda each: _likelihood(read[each], key_column))
        rows = read[separator]
    comma = separator in {";", "\t"} and any(
        _DECIMAL_COMMA.fullmatch(cell.strip()) for row in rows[1:] for cell in row
    )
    return Dialect(encoding, separator, said, comma)


def _encoding(file: BinaryIO, may_be_windows: bool) -> str:
    start = file.read(4)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if not may_be_windows:
        return "utf-8-sig"
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")(DAMAGE)
    letters = damaged = 0
    while chunk := file.read(_CHUNK_BYTES):
        text = decoder.decode(chunk)
        if not text.isascii():
            faults = text.count(UNDECODABLE)
            damaged += faults
            letters += sum(map(len, re.findall(r"[^\x00-\x7f]+", text))) - faults
    damaged += decoder.decode(b"", final=True).count(UNDECODABLE)
    return "cp1252" if damaged > letters else "utf-8-sig"


def _rows(lines: list[str], separator: str) -> list[list[str]]:
    """The first rows; what is no CSV ends them."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(lines, delimiter=separator):
            if row:
                rows.append(row)
            if len(rows) > _SAMPLE_ROWS:
                break
    except csv.Error:
        pass
    return rows


def _likelihood(rows: list[list[str]], key_column: str) -> tuple[bool, bool, float, int]:
    """How well a separator explains the first rows; more is better."""
    if not rows:
        return False, False, 0.0, 0
    width = len(rows[0])
    has_key = key_column in (name.strip() for name in rows[0])
    as_wide = sum(len(row) == width for row in rows[1:]) / max(1, len(rows) - 1)
    return has_key, width > 1, as_wide, width
