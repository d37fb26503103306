"""A metadata file beside a folder of images, joined by the image's path, in bounded memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lookalike_crds.progress import ByCause, Tally, Unit
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.ingest.sources.protocol import SourceError, legible
from lookalike_serving.ingest.sources.rows import columns_of, reading_of
from lookalike_serving.ingest.sources.tables import Table, Unreadable, metadata_format
from lookalike_serving.ingest.sources.unmatched import meeting_name, remedy, rough_name

_MAX_UNREADABLE = 1000
"""Rows whose faults are kept one by one; of more, the file as a whole is not what it should be."""
_MOST_FILES = 100_000
"""Files without a row that are kept, to see what rows without a file were meant to name."""
_LOOKED_AT = 200
"""Rows without a file that are looked at for it."""


class Sidecar:
    """Rows by key, in a scratch database that goes with the run."""

    def __init__(
        self, source: str, path: Path, mapping: MetadataMapping, scratch: Path, *, one_by_one: bool
    ) -> None:
        """Reads the whole file. `one_by_one`: unreadable rows are kept, and have a bound.

        Raises SourceError.
        """
        self.path = path
        self.unreadable: list[Unreadable] = []
        """What could not be read, if `one_by_one`: the images of these rows have none."""
        self._name = mapping.file or path.name
        self._source = source
        self._told = Tally()
        self._database = sqlite3.connect(scratch, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE metadata (key TEXT PRIMARY KEY, row TEXT)")
        self._database.execute("CREATE TABLE files (rough TEXT, key TEXT)")
        self._files = 0
        column = mapping.key_column
        wanted = columns_of(mapping, column)
        table = Table(path, metadata_format(path.name), text_column=column, columns=wanted)
        self.reading = reading_of(table, mapping)
        first: Unreadable | None = None
        number = 0
        for number, row in enumerate(table, 1):
            bad = row if isinstance(row, Unreadable) else self._enter(number, row, column)
            if bad is None:
                continue
            first = first or bad
            if not one_by_one:
                self._tell(bad.cause, "row", f"{self._name} {bad.place}")
            elif len(self.unreadable) == _MAX_UNREADABLE:
                raise SourceError(
                    f"more than {_MAX_UNREADABLE:,} rows of {path} cannot be read, the first: "
                    f"{first.place} {first.cause}"
                )
            else:
                self.unreadable.append(bad)
        (rows,) = self._database.execute("SELECT count(*) FROM metadata").fetchone()
        if number and not rows and first is not None:
            raise SourceError(f"no row of {path} can be used: {first.place} {first.cause}")
        for note in table.notes:
            self._tell(note, "file", self._name)
        self._met = bytearray(rows + 1)
        """By a row's number in the database: whether a file has its name."""

    def _enter(self, number: int, row: dict[str, Any], column: str) -> Unreadable | None:
        """Keep a row; None, or what is wrong with it."""
        key = row.get(column)
        if not isinstance(key, str) or not key.strip():
            told = f"has no {column!r}, the column that names the image: set metadata.keyColumn"
            return Unreadable(f"row {number:,}", told)
        try:
            written = json.dumps(row)
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits
            return Unreadable(f"row {number:,}", f"cannot be kept: {error}")
        insert = "INSERT OR IGNORE INTO metadata VALUES (?, ?)"
        if not self._database.execute(insert, (meeting_name(key), written)).rowcount:
            told = f"an earlier row of {self._name} names the same file, and counts"
            self._tell(told, "row", f"row {number:,}: {legible(key)}")
        return None

    def row(self, key: str) -> dict[str, Any] | None:
        """The row of a file, however its path is spelled."""
        find = "SELECT rowid, row FROM metadata WHERE key = ?"
        found = self._database.execute(find, (meeting_name(key),)).fetchone()
        if found is None:
            if self._files < _MOST_FILES:
                self._files += 1
                files = "INSERT INTO files VALUES (?, ?)"
                self._database.execute(files, (rough_name(key), key))
            return None
        self._met[found[0]] = True
        return dict(json.loads(found[1]))

    def pass_over(self, key: str) -> None:
        """Note a file that is there and is none of the source's images: its row names a file."""
        find = "SELECT rowid FROM metadata WHERE key = ?"
        found = self._database.execute(find, (meeting_name(key),)).fetchone()
        if found is not None:
            self._met[found[0]] = True

    def _tell(self, cause: str, of: Unit, example: str) -> None:
        self._told.add(ByCause(cause=cause, of=of, source=self._source, example=example))

    def warnings(self) -> Iterator[ByCause]:
        """What is to be told of the file, once every file of the folder was asked for."""
        yield from self._told
        alone = self._met.count(0, 1)
        if not alone:
            return
        self._database.execute("CREATE INDEX IF NOT EXISTS by_rough ON files (rough)")
        keys = [self._key(at) for at in _zeros(self._met, _LOOKED_AT)]
        why = remedy(keys, self._files_like)
        told = f"no file of the folder has the name that {self._name} says"
        yield ByCause(
            cause=f"{told}: {why}" if why else told,
            count=alone,
            of="row",
            source=self._source,
            example=legible(keys[0]),
        )

    def _key(self, number: int) -> str:
        find = "SELECT key FROM metadata WHERE rowid = ?"
        return str(self._database.execute(find, (number,)).fetchone()[0])

    def _files_like(self, rough: str) -> list[str]:
        find = "SELECT key FROM files WHERE rough = ? LIMIT 5"
        return [str(key) for (key,) in self._database.execute(find, (rough,))]


def _zeros(flags: bytearray, most: int) -> Iterator[int]:
    """The first numbers, from 1, that are not set."""
    at = flags.find(0, 1)
    while at != -1 and most:
        yield at
        most -= 1
        at = flags.find(0, at + 1)
