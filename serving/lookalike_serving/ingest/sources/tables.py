"""Rows of text, CSV, JSON Lines and Parquet files, one at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from lookalike_serving.ingest.sources.protocol import SourceError

_BY_SUFFIX = {
    ".txt": "Text",
    ".list": "Text",
    ".csv": "Csv",
    ".jsonl": "JsonLines",
    ".ndjson": "JsonLines",
    ".parquet": "Parquet",
    ".pq": "Parquet",
}
_ROWS = 1024


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


def rows(path: Path, format_: str, *, text_column: str) -> Iterator[dict[str, Any]]:
    """Each row as a dict; lines of a Text file become `{text_column: line}`.

    Raises SourceError that names the line for what cannot be read.
    """
    try:
        if format_ == "Parquet":
            yield from _parquet(path)
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            if format_ == "Csv":
                yield from csv.DictReader(file)
            else:
                for number, line in enumerate(file, 1):
                    text = line.strip()
                    if not text or (format_ == "Text" and text.startswith("#")):
                        continue
                    yield {text_column: text} if format_ == "Text" else _json(path, number, text)
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text (byte {error.start})") from None
    except csv.Error as error:
        raise SourceError(f"{path} is not CSV: {error}") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from None


def _json(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise SourceError(f"{path} line {number} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise SourceError(f"{path} line {number} is not an object: write {{…}} on each line")
    return row


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} is not Parquet: {error}") from None
    for batch in file.iter_batches(_ROWS):
        yield from batch.to_pylist()
