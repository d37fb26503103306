"""Checks a document's metadata against the collection's `fields`, before anything is stored.

Keys that `fields` does not name may hold any JSON; keys it names must hold their type (or a list
of it), since the engine would silently leave a wrong type out of its payload index and the
document would never match a filter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.moments import FORMS, stored_form
from lookalike_serving.problems import Wrong, invalid

MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 16
MAX_METADATA_KEY = 128
_INTEGERS = range(-(2**63), 2**63)
_EXPECTED = {
    FieldType.KEYWORD: 'a string, such as "active"',
    FieldType.INTEGER: "a whole number, such as 42",
    FieldType.FLOAT: "a number that a 64-bit float holds exactly, such as 9.5",
    FieldType.BOOL: "true or false",
    FieldType.DATETIME: f"an RFC 3339 time ({FORMS})",
    FieldType.GEO: '{"lat": -90..90, "lon": -180..180}',
    FieldType.TEXT: "a string",
}


def checked_metadata(
    metadata: dict[str, Any], fields: Iterable[FieldSpec], *, path: str = "metadata"
) -> dict[str, Any]:
    """The metadata as it is stored: numbers of Float and Integer fields in their own type, times
    in a form that every engine reads.

    Raises Problem 422 that lists every wrong key. `null` is allowed everywhere.
    """
    types = {field.name: field.type for field in fields}
    errors: list[Wrong] = []
    checked: dict[str, Any] = {}
    for key, value in metadata.items():
        at = f"{path}.{key}"
        if message := _wrong_key(key):
            errors.append(Wrong(at[:200], message))
        elif message := _wrong_json(value, MAX_METADATA_DEPTH):
            errors.append(Wrong(at, message))
        elif value is None or key not in types:
            checked[key] = value
        else:
            try:
                checked[key] = _typed(value, types[key])
            except ValueError:
                expected = f"{_EXPECTED[types[key]]}, a list of these, or null"
                message = f"{_shown(value)} does not fit the field's type {types[key]}: {expected}"
                errors.append(Wrong(at, message))
    if not errors and len(json.dumps(checked, ensure_ascii=False)) > MAX_METADATA_BYTES:
        message = (
            f"is larger than {MAX_METADATA_BYTES // 1024} KiB as JSON: store less per document"
        )
        errors.append(Wrong(path, message))
    if errors:
        raise invalid(errors)
    return checked


def _wrong_key(key: str) -> str | None:
    if not key or len(key) > MAX_METADATA_KEY:
        return f"metadata keys have 1 to {MAX_METADATA_KEY} characters"
    if not _is_text(key):
        return "metadata keys hold whole characters, not half of a surrogate pair"
    if key.startswith("_"):
        return "metadata keys that begin with _ are reserved: rename it"
    if any(character in key for character in ".[]\"'\x00"):
        return "metadata keys hold no dots, brackets or quotes, since filters use these: rename it"
    return None


def _wrong_json(value: Any, depth: int) -> str | None:
    """What a JSON value may not hold because no engine can store it."""
    if depth == 0:
        return f"is nested deeper than {MAX_METADATA_DEPTH} levels: flatten it"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN and infinities cannot be stored: use null"
    if isinstance(value, str) and not _is_text(value):
        return "holds half of a surrogate pair: write whole characters"
    if isinstance(value, int) and value not in _INTEGERS:
        return "whole numbers are stored in 64 bits: write larger ones as strings"
    if value is not None and not isinstance(value, bool | str | int | float | dict | list | tuple):
        return f"is {type(value).__name__}, not a JSON value: convert it to text or numbers"
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        if not all(map(_is_text, value)):
            return "has a key with half of a surrogate pair: write whole characters"
        inner = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    for each in inner:
        if message := _wrong_json(each, depth - 1):
            return message
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _typed(value: Any, kind: FieldType) -> Any:
    if isinstance(value, list):
        return [_scalar(each, kind) for each in value]
    return _scalar(value, kind)


def _scalar(value: Any, kind: FieldType) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case FieldType.KEYWORD | FieldType.TEXT if isinstance(value, str):
            return value
        case FieldType.INTEGER if is_number and value == int(value) and int(value) in _INTEGERS:
            return int(value)
        case FieldType.FLOAT if is_number and int(value) == int(float(value)):
            return float(value)
        case FieldType.BOOL if isinstance(value, bool):
            return value
        case FieldType.DATETIME if isinstance(value, str):
            return stored_form(value)
        case FieldType.GEO if isinstance(value, dict) and value.keys() == {"lat", "lon"}:
            return {
                "lat": _within(value["lat"], 90.0),
                "lon": _within(value["lon"], 180.0),
            }
        case _:
            raise ValueError(value)


def _within(value: Any, bound: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > bound:
        raise ValueError(value)
    return float(value)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
