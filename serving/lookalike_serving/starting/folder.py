"""The pictures of a folder, and the table that describes them."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from lookalike_crds.source_kinds import VolumeSource
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.documents.ids import canonical
from lookalike_serving.ingest.sources import Item, Skipped, SourceError
from lookalike_serving.ingest.sources import volume as listing
from lookalike_serving.ingest.sources.guess import Guess, guess_columns, guess_place
from lookalike_serving.ingest.sources.rows import reading_of
from lookalike_serving.ingest.sources.tables import Table, Unreadable, format_of
from lookalike_serving.ingest.sources.unmatched import meeting_name
from lookalike_serving.ingest.survey import may_be_a_field

_LISTING_SECONDS = 60.0
_TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".pq"})
_MOST_TABLES = 20
_ROWS = 100_000
"""Rows of a table that are read to see which files it describes."""
_GUESSED_ROWS = 5000
_ID = re.compile(r"(.*[_ .-])?(id|sku|uuid|guid|asin|ean|gtin|barcode)|.*Id|.*ID", re.IGNORECASE)
_MOST_FIELDS = 64
PLACE = "place"
"""The field that is made from columns of latitude and longitude."""


@dataclass(frozen=True, slots=True)
class Pictures:
    keys: frozenset[str]
    """Paths below the folder, their letters composed as ids have them."""
    formats: dict[str, int]
    """Counts by file extension, the most frequent first."""
    skipped: Skipped
    whole: bool
    """Whether all of the folder was listed in time."""


@dataclass(frozen=True, slots=True)
class Described:
    """A table whose rows describe pictures of the folder."""

    file: str
    """Relative to the folder."""
    key_column: str
    matched: int
    """Pictures that have a row."""
    rows: int
    """The number of rows that were read."""
    whole: bool
    """Whether these are all rows."""
    id_column: str | None
    """A column that clearly is an id; None if the path is the id."""
    fields: dict[str, Guess] = field(default_factory=dict)
    place: tuple[str, str] | None = None
    """The columns of latitude and longitude, if there are any."""


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A table with a column of names that are nearly those of the pictures."""

    file: Path
    column: str
    matched: int
    why: str


def pictures_of(folder: Path) -> Pictures:
    """List the folder as ingestion does. Raises SourceError if it cannot be read."""
    return asyncio.run(_listed(folder))


async def _listed(folder: Path) -> Pictures:
    until = time.monotonic() + _LISTING_SECONDS
    keys: set[str] = set()
    formats: Counter[str] = Counter()
    whole = True
    with tempfile.TemporaryDirectory(prefix="lookalike-") as scratch:
        spec = VolumeSource(path=str(folder))
        source = listing.VolumeSource("folder", spec, MetadataMapping(), (), Path(scratch))
        async for entry in source.list():
            if isinstance(entry, Item):
                keys.add(meeting_name(entry.key))
                formats[_format(entry.key)] += 1
            if time.monotonic() > until:
                whole = False
                break
    return Pictures(frozenset(keys), dict(formats.most_common()), source.skipped, whole)


def _format(name: str) -> str:
    suffix = Path(name).suffix.lower().removeprefix(".")
    same = {"jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "tif": "TIFF"}
    return same.get(suffix, suffix.upper())


def description_of(folder: Path, pictures: Pictures) -> Described | NearMiss | None:
    """The table, in the folder or beside it, that describes most of the pictures."""
    best: Described | None = None
    near: NearMiss | None = None
    for path in islice(_tables(folder), _MOST_TABLES):
        try:
            found = _read(path, folder, pictures)
        except (SourceError, OSError):
            continue  # no table of pictures then
        if isinstance(found, NearMiss):
            near = near if near is not None and near.matched >= found.matched else found
        elif found is not None and (best is None or found.matched > best.matched):
            best = found
    return best or near


def _tables(folder: Path) -> Iterator[Path]:
    """The candidate tables, those in the folder first."""
    for place in (folder, folder.parent):
        try:
            names = sorted(each.name for each in os.scandir(place) if each.is_file())
        except OSError:
            continue
        for name in names:
            if Path(name).suffix.lower() in _TABLE_SUFFIXES and not name.startswith("."):
                yield place / name


def _read(path: Path, folder: Path, pictures: Pictures) -> Described | NearMiss | None:
    """Raises SourceError if it is no table."""
    table = Table(path, format_of(path.name), text_column="file")
    read = list(islice(table, _ROWS + 1))
    rows = [row for row in read[:_ROWS] if not isinstance(row, Unreadable)]
    hits = _hits(rows, lambda value: _named(value, pictures.keys))
    if not hits:
        return _near(path, rows, pictures)
    column = max(hits, key=lambda name: len(hits[name]))
    # A picture without a row would have no id.
    every = len(hits[column]) == len(pictures.keys)
    id_column = _id_column(rows, column) if every else None
    guessed = guess_columns(rows[:_GUESSED_ROWS], reading_of(table, MetadataMapping()))
    fields = {
        name: guess
        for name, guess in guessed.items()
        if name not in (column, id_column) and guess.type is not None and may_be_a_field(name)
    }
    return Described(
        os.path.relpath(path, folder),
        column,
        len(hits[column]),
        len(rows),
        len(read) <= _ROWS,
        id_column,
        dict(islice(fields.items(), _MOST_FIELDS)),
        guess_place(fields) if PLACE not in fields else None,
    )


def _named(value: str, keys: frozenset[str]) -> str | None:
    """The picture that a value names, as ingestion joins them."""
    key = meeting_name(value)
    return key if key in keys else None


def _hits(rows: list[dict[str, Any]], found: Callable[[str], str | None]) -> dict[str, set[str]]:
    """The pictures that the values of each column name."""
    hits: dict[str, set[str]] = {}
    for row in rows:
        for column, value in row.items():
            if isinstance(value, str) and value and (key := found(value)) is not None:
                hits.setdefault(column, set()).add(key)
    return hits


def _near(path: Path, rows: list[dict[str, Any]], pictures: Pictures) -> NearMiss | None:
    """Whether the values would name pictures with another folder before them, or an ending."""
    by_name = {Path(key).name: key for key in pictures.keys}
    by_stem = {Path(key).stem: key for key in pictures.keys}
    ways = (
        ("the names have other folders before them, or none", lambda v: by_name.get(_last(v))),
        ("the names lack their endings", lambda v: by_stem.get(_last(v))),
    )
    for why, way in ways:
        if hits := _hits(rows, way):
            column = max(hits, key=lambda name: len(hits[name]))
            return NearMiss(path, column, len(hits[column]), why)
    return None


def _last(value: str) -> str:
    return canonical(value.replace("\\", "/").rstrip("/").rpartition("/")[2])


def _id_column(rows: list[dict[str, Any]], key_column: str) -> str | None:
    """A column with the name of an id, in which every row has a value of its own."""
    for column in rows[0] if rows else ():
        if column == key_column or not _ID.fullmatch(column):
            continue
        values = [str(row.get(column) or "").strip() for row in rows]
        if all(values) and len(set(values)) == len(values):
            return column
    return None
