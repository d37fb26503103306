"""Text of a cell as a value of a field's type.

What a table's text says is settled by the type that its field has: `1` is a number, a truth value
or a name. What cannot be read as the type is returned as it came: the check against `fields`
refuses it, with column and value. Nothing is guessed where two readings are possible: `1.234` in a
table with decimal commas, `1,234` in any.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from lookalike_crds.date_formats import EPOCH_UNITS, has_time
from lookalike_crds.image_collection import FieldType
from lookalike_crds.moments import utc_text

_NOTHING = frozenset(
    r"\n null none nan nat n/a na <na> #n/a -nan #value! #ref! #div/0! #name? #null! #num!".split()
)
"""How databases, pandas and spreadsheets write that there is no value, in lower case."""
_TRUE = frozenset("true yes y t 1 1.0".split())
_FALSE = frozenset("false no n f 0 0.0".split())
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
"""Numbers as tables and JSON write them. Python's own reading also takes `1_000`, `nan`, `Infinity`
and the digits of other scripts, which are texts to everybody else."""
_WITH_COMMA = re.compile(r"[+-]?([0-9]+|[0-9]{1,3}(\.[0-9]{3})+),[0-9]+([eE][+-]?[0-9]{1,4})?")
"""`12,50` and `1.234,50`."""
_MAYBE_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{3})+")
_PLACE = re.compile(r"\(?\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*[,;\s]\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*\)?")
"""Latitude and longitude in one cell."""
_EXACT = 2**53
"""Whole numbers from here on are not exact once they are written with a point or exponent."""
_TEXTS = (FieldType.KEYWORD, FieldType.TEXT)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGITUDES = ("lon", "lng", "longitude")


@dataclass(frozen=True, slots=True)
class Reading:
    """How the cells of one table are read."""

    all_text: bool = False
    """Whether the table knows nothing but text, as CSV does: a list or an object is JSON then."""
    decimal_comma: bool = False
    date_formats: tuple[str, ...] = ()
    """Tried in this order, before RFC 3339 and what is near it."""


def value_of(cell: Any, kind: FieldType | None, reading: Reading) -> Any:
    """What a cell says in a field of type `kind` (None: no field), or the cell as it came."""
    if isinstance(cell, str):
        if kind is None or kind in _TEXTS:
            return _listed(cell, kind, reading)
        return _read(cell.strip(), kind, reading)
    if kind is None:
        return cell
    if isinstance(cell, list):
        return [value_of(each, kind, reading) for each in cell]
    if kind is FieldType.GEO and isinstance(cell, dict):
        return _place(cell)
    if kind is FieldType.DATETIME and isinstance(cell, int | float) and not isinstance(cell, bool):
        return _epoch(cell, reading) or cell
    return cell


def _listed(text: str, kind: FieldType | None, reading: Reading) -> Any:
    """A text, unless it is a list (or an object, where no field says what it is) of all text."""
    if not reading.all_text:
        return text
    found = _structure(text.strip())
    if kind is None:
        return text if found is None else found
    is_list = isinstance(found, list) and all(isinstance(each, str) for each in found)
    return found if is_list else text


def _read(text: str, kind: FieldType, reading: Reading) -> Any:
    """Text without space around it, as any type but a text's."""
    if not text or text.lower() in _NOTHING:
        return None
    match kind:
        case FieldType.INTEGER if _WHOLE.fullmatch(text):
            return int(text)
        case FieldType.INTEGER if (number := _number(text, reading)) is not None:
            return number if abs(number) < _EXACT else text
        case FieldType.FLOAT if (number := _number(text, reading)) is not None:
            return number
        case FieldType.BOOL if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        case FieldType.DATETIME if (found := _moment(text, reading)) is not None:
            return found
        case FieldType.GEO if place := _PLACE.fullmatch(text):
            return {"lat": float(place[1]), "lon": float(place[2])}
    if (found := _structure(text)) is not None:
        if found == {}:
            return None
        if isinstance(found, list) or kind is FieldType.GEO:
            return value_of(found, kind, reading)
    return text


def _number(text: str, reading: Reading) -> float | None:
    if reading.decimal_comma:
        if _WITH_COMMA.fullmatch(text):
            return float(text.replace(".", "").replace(",", "."))
        if _MAYBE_THOUSANDS.fullmatch(text):
            return None
    return float(text) if NUMBER.fullmatch(text) else None


def _moment(text: str, reading: Reading) -> str | None:
    """In the stated formats alone."""
    for each in reading.date_formats:
        if each in EPOCH_UNITS:
            if NUMBER.fullmatch(text) and (found := _epoch(float(text), reading)):
                return found
            continue
        try:
            read = datetime.strptime(text, each)
            if not has_time(each):
                return read.date().isoformat()
            aware = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
        return utc_text(aware)
    return None


def _epoch(number: float, reading: Reading) -> str | None:
    """What a number of seconds or milliseconds since 1970 says, where it was stated to be one."""
    for each in reading.date_formats:
        if each in EPOCH_UNITS:
            try:
                read = _EPOCH + timedelta(microseconds=round(number * EPOCH_UNITS[each]))
            except (OverflowError, ValueError):
                return None
            return utc_text(read)
    return None


def _place(place: dict[str, Any]) -> dict[str, Any]:
    """As `{"lat", "lon"}` where its keys say so in other words."""
    latitude = [each for each in place if str(each).lower() in ("lat", "latitude")]
    longitude = [each for each in place if str(each).lower() in _LONGITUDES]
    if len(latitude) != 1 or len(longitude) != 1 or len(place) != 2:
        return place
    return {"lat": _degrees(place[latitude[0]]), "lon": _degrees(place[longitude[0]])}


def _degrees(value: Any) -> Any:
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        return float(value)
    return value


def place_of(latitude: Any, longitude: Any, reading: Reading) -> Any:
    """The place that two cells tell; None if both tell nothing."""
    lat, lon = (value_of(each, FieldType.FLOAT, reading) for each in (latitude, longitude))
    return None if lat is None and lon is None else {"lat": lat, "lon": lon}


def _structure(text: str) -> Any:
    """The list or object that a text is, as JSON or as Python (and pandas) writes a list."""
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return None
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        pass
    if text[0] == "[":
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            return None
        return found if isinstance(found, list) else None
    return None
