"""Which types the columns of a table seem to have, judged by some of its rows.

A guess is a proposal for a person, never what ingestion does by itself: a type fits if every
value that was seen reads as it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lookalike_crds.image_collection import FieldType
from lookalike_serving.documents.metadata import fits
from lookalike_serving.ingest.sources.cells import NUMBER, Reading, value_of

_MOST_COLUMNS = 1000
_MAX_DEPTH = 4
_WORDS = re.compile(r"true|false|yes|no|t|f|y|n", re.IGNORECASE)
_PADDED = re.compile(r"[+-]?0[0-9]+")
"""An article number or a postcode rather than a number."""
_LONG_TEXT, _MANY_WORDS = 80, 6
_FEW = 10
"""At most one value in so many, or one alone, is taken for a typing error."""
_FEWEST = 3
_DATE_FORMATS = (
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y:%m:%d %H:%M:%S",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
)


@dataclass(frozen=True, slots=True)
class Guess:
    """What one column seems to hold."""

    type: FieldType | None
    """None: nothing that a field could be, or no value was seen."""
    values: int
    """Rows that had a value."""
    date_format: str | None = None
    """For `dateFormat`, where the dates are in none of the forms that are read without it."""
    or_date_format: str | None = None
    """Another one that all of them fit: a person knows which (`05/06/2024`)."""
    almost: Almost | None = None
    """The type that nearly all values of a Keyword column fit."""


@dataclass(frozen=True, slots=True)
class Almost:
    """A type that a few values keep a column from having."""

    type: FieldType
    misfits: int
    example: str
    """One of them."""
    date_format: str | None = None


def guess_columns(
    rows: Iterable[Mapping[str, Any]], reading: Reading = Reading()
) -> dict[str, Guess]:
    """Column -> guess, in the order of the columns; of nested objects `camera.make`."""
    seen: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in flat(row):
            if name in seen or len(seen) < _MOST_COLUMNS:
                seen.setdefault(name, []).append(value)
    return {name: guess(values, reading) for name, values in seen.items()}


def guess(values: Sequence[Any], reading: Reading = Reading()) -> Guess:
    """The narrowest type that all values fit which are values at all."""
    told = [value for value in values if not _is_nothing(value, reading)]
    if not told:
        return Guess(None, 0)
    for kind in (FieldType.BOOL, FieldType.INTEGER, FieldType.FLOAT, FieldType.DATETIME):
        if all(_reads_as(value, kind, reading) for value in told):
            return Guess(kind, len(told))
    if formats := [each for each in _DATE_FORMATS if _dated(told, each)]:
        first, *others = formats
        return Guess(FieldType.DATETIME, len(told), first, others[0] if others else None)
    if all(_reads_as(value, FieldType.GEO, reading) for value in told):
        return Guess(FieldType.GEO, len(told))
    texts = [text for value in told for text in _members(value, reading)]
    if not texts or not all(isinstance(text, str) for text in texts):
        return Guess(None, len(told))
    is_prose = any(len(text) > _LONG_TEXT or len(text.split()) > _MANY_WORDS for text in texts)
    if is_prose:
        return Guess(FieldType.TEXT, len(told))
    return Guess(FieldType.KEYWORD, len(told), almost=_almost(told, reading))


def _almost(told: Sequence[Any], reading: Reading) -> Almost | None:
    """A few typing errors do not make words of a column of numbers: a person is told of them."""
    most = max(1, len(told) // _FEW)
    if len(told) < _FEWEST:
        return None
    ways: list[tuple[FieldType, str | None]] = [
        (FieldType.INTEGER, None),
        (FieldType.FLOAT, None),
        (FieldType.DATETIME, None),
    ]
    ways += [(FieldType.DATETIME, each) for each in _DATE_FORMATS]
    for kind, date_format in ways:
        by = reading if date_format is None else Reading(date_formats=(date_format,))
        misfits: list[Any] = []
        for value in told:
            if not _reads_as(value, kind, by):
                misfits.append(value)
            if len(misfits) > most:
                break
        else:
            return Almost(kind, len(misfits), str(misfits[0]), date_format)
    return None


def guess_place(columns: Iterable[str]) -> tuple[str, str] | None:
    """The columns of latitude and longitude, where a table has one of each."""
    by_name = {column.lower(): column for column in columns}
    latitude = next((by_name[n] for n in ("lat", "latitude") if n in by_name), None)
    longitude = next((by_name[n] for n in ("lon", "lng", "longitude") if n in by_name), None)
    return None if latitude is None or longitude is None else (latitude, longitude)


def flat(row: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterable[tuple[str, Any]]:
    """Columns and cells; of nested objects their keys, as `camera.make`."""
    for key, value in row.items():
        name = f"{before}{key}"
        is_place = isinstance(value, dict) and fits(value, FieldType.GEO)
        if isinstance(value, dict) and depth < _MAX_DEPTH and not is_place:
            yield from flat(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _is_nothing(value: Any, reading: Reading) -> bool:
    return value in (None, "", []) or (
        isinstance(value, str) and value_of(value, FieldType.FLOAT, reading) is None
    )


def _dated(values: Sequence[Any], date_format: str) -> bool:
    reading = Reading(date_formats=(date_format,))
    return all(_reads_as(value, FieldType.DATETIME, reading) for value in values)


def _members(value: Any, reading: Reading) -> list[Any]:
    read = value_of(value, FieldType.KEYWORD, reading)
    return read if isinstance(read, list) else [read]


def _reads_as(value: Any, kind: FieldType, reading: Reading) -> bool:
    if isinstance(value, str):
        text = value.strip()
        if kind is FieldType.BOOL and not _WORDS.fullmatch(text):
            return False  # 0 and 1 are numbers first
        if kind in (FieldType.INTEGER, FieldType.FLOAT) and _PADDED.fullmatch(text):
            return False
        if kind is FieldType.GEO and text[:1] not in ("{", "[") and text.count(".") != 2:
            return False  # 12,50 is a price
        if kind is FieldType.DATETIME and NUMBER.fullmatch(text):
            return False
    read = value_of(value, kind, reading)
    return read is not None and fits(read, kind)
