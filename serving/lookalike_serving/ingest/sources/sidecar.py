"""A metadata file beside a folder of images, joined by the image's path, in bounded memory."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from lookalike_crds.sources import MetadataMapping
from lookalike_serving.document_ids import canonical
from lookalike_serving.ingest.sources.protocol import SourceError
from lookalike_serving.ingest.sources.rows import columns_of, reading_of
from lookalike_serving.ingest.sources.tables import Table, Unreadable, format_of

_MAX_UNREADABLE = 1000
"""Rows whose faults are kept; of more, the file as a whole is not what it should be."""


class Sidecar:
    """Rows by key, in a scratch database that goes with the run."""

    def __init__(self, path: Path, mapping: MetadataMapping, scratch: Path) -> None:
        """Reads the whole file. Raises SourceError."""
        self.path = path
        self.unreadable: list[Unreadable] = []
        """What could not be read: the images of these rows have none."""
        self._database = sqlite3.connect(scratch)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE metadata (key TEXT PRIMARY KEY, row TEXT)")
        column = mapping.key_column
        wanted = columns_of(mapping, column)
        table = Table(path, _format_of(path.name), text_column=column, columns=wanted)
        self.reading = reading_of(table)
        number = found = 0
        for number, row in enumerate(table, 1):
            bad = row if isinstance(row, Unreadable) else self._enter(number, row, column)
            if bad is None:
                found += 1
            elif len(self.unreadable) == _MAX_UNREADABLE:
                raise SourceError(
                    f"more than {_MAX_UNREADABLE:,} rows of {path} cannot be read, the first: "
                    f"{self.unreadable[0].place} {self.unreadable[0].cause}"
                )
            else:
                self.unreadable.append(bad)
        if number and not found:
            first = self.unreadable[0]
            raise SourceError(f"no row of {path} can be used: {first.place} {first.cause}")

    def _enter(self, number: int, row: dict[str, Any], column: str) -> Unreadable | None:
        """Keep a row; None, or what is wrong with it."""
        key = row.get(column)
        if not isinstance(key, str) or not key:
            told = f"has no {column!r}, the column that names the image: set metadata.keyColumn"
            return Unreadable(f"row {number:,}", told)
        try:
            written = json.dumps(row)
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits
            return Unreadable(f"row {number:,}", f"cannot be kept: {error}")
        self._database.execute(
            "INSERT OR IGNORE INTO metadata VALUES (?, ?)",
            (canonical(key.removeprefix("./")), written),
        )
        return None

    def row(self, key: str) -> dict[str, Any] | None:
        """The row of a path, however its letters are composed."""
        find = "SELECT row FROM metadata WHERE key = ?"
        found = self._database.execute(find, (canonical(key),)).fetchone()
        return None if found is None else dict(json.loads(found[0]))


def _format_of(name: str) -> str:
    """Excel gives `Unicode text` the suffix of a list, which could not name anything but images."""
    format_ = format_of(name)
    return "Csv" if format_ == "Text" else format_
