"""Checks a document's metadata against the collection's `fields`, before anything is stored.

Keys that `fields` does not name may hold any JSON; keys it names must hold their type (or a list
of it), since the engine would silently leave a wrong type out of its payload index and the
document would never match a filter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.index.moments import FORMS, stored_form
from lookalike_serving.problems import Wrong, invalid

MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 16
MAX_METADATA_KEY = 128
METADATA: dict[str, Any] = {
    "propertyNames": {
        "maxLength": MAX_METADATA_KEY,
        "pattern": r"""^[^_.\[\]"'\u0000][^.\[\]"'\u0000]*$""",
    }
}
"""The rules of keys as far as a JSON schema can express them, for the description of the API."""
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
    checked, misfits = MetadataChecker(fields).checked(metadata)
    if misfits:
        raise invalid([Wrong(f"{path}.{each.key}"[:200], each.message) for each in misfits])
    if len(json.dumps(checked, ensure_ascii=False)) > MAX_METADATA_BYTES:
        raise invalid([Wrong(path, _TOO_LARGE)])
    return checked


@dataclass(frozen=True, slots=True)
class Misfit:
    """One value that cannot be stored."""

    key: str
    """The key, with dots if it is nested."""
    value: Any
    why: str
    """The reason without the value: the same for all values that are wrong in the same way."""

    @property
    def message(self) -> str:
        """`why`, with the value if that helps."""
        return f"{shown(self.value)} {self.why}" if self.why.startswith("does not") else self.why


class _Node:
    """What the fields say about one key, and about the keys below it."""

    __slots__ = ("below", "kind")

    def __init__(self) -> None:
        self.kind: FieldType | None = None
        self.below: dict[str, _Node] = {}


class MetadataChecker:
    """Checks metadata against one collection's fields; `camera.make` is the key `make` of the
    object `camera`."""

    def __init__(self, fields: Iterable[FieldSpec]) -> None:
        self._root = _Node()
        for field in fields:
            node = self._root
            for name in field.name.split("."):
                node = node.below.setdefault(name, _Node())
            node.kind = field.type

    def checked(self, metadata: dict[str, Any]) -> tuple[dict[str, Any], list[Misfit]]:
        """The values that fit, as they are stored, and those that do not and were left out."""
        checked: dict[str, Any] = {}
        misfits: list[Misfit] = []
        for key, value in metadata.items():
            if why := _wrong_key(key) or _wrong_json(value, MAX_METADATA_DEPTH):
                misfits.append(Misfit(key, value, why))
                continue
            node = self._root.below.get(key)
            kept = value if node is None else _checked(key, value, node, misfits)
            if kept is not _LEFT_OUT:
                checked[key] = kept
        return checked, misfits

    def fitting(self, metadata: dict[str, Any]) -> tuple[dict[str, Any], list[Misfit]]:
        """The same, without the longest values if all of them together exceed the limit."""
        checked, misfits = self.checked(metadata)
        excess = _size(checked) - MAX_METADATA_BYTES
        if excess > 0:
            for key in sorted(checked, key=lambda each: -_size(checked[each])):
                misfits.append(Misfit(key, checked[key], f"is too much: metadata {_TOO_LARGE}"))
                excess -= _size({key: checked.pop(key)})
                if excess <= 0:
                    break
        return checked, misfits


def fits(value: Any, kind: FieldType) -> bool:
    """Whether a field of the type takes a value."""
    try:
        _typed(value, kind)
    except (ValueError, OverflowError):
        return False
    return True


_LEFT_OUT = object()
_TOO_LARGE = f"is larger than {MAX_METADATA_BYTES // 1024} KiB as JSON: store less per document"


def _size(value: Any) -> int:
    """The number of characters of its JSON."""
    return len(json.dumps(value, ensure_ascii=False))


def _checked(key: str, value: Any, node: _Node, misfits: list[Misfit]) -> Any:
    """The value as it is stored, without what does not fit; _LEFT_OUT if nothing is left."""
    if value is None:
        return None
    if node.kind is not None:
        try:
            value = _typed(value, node.kind)
        except (ValueError, OverflowError):
            expected = f"{_EXPECTED[node.kind]}, a list of these, or null"
            why = f"does not fit the field's type {node.kind}: {expected}"
            misfits.append(Misfit(key, value, why))
            return _LEFT_OUT
    if not node.below:
        return value
    if not isinstance(value, dict):
        if node.kind is not None:
            return value
        below = f"{key}.{next(iter(node.below))}"
        why = f"does not fit: the field {below} is a key of an object, {{…}}, or null"
        misfits.append(Misfit(key, value, why))
        return _LEFT_OUT
    kept = {}
    for name, each in value.items():
        child = node.below.get(name)
        inner = each if child is None else _checked(f"{key}.{name}", each, child, misfits)
        if inner is not _LEFT_OUT:
            kept[name] = inner
    return kept


@lru_cache(4096)  # tables have the same few keys in every row
def _wrong_key(key: str) -> str | None:
    if not key or len(key) > MAX_METADATA_KEY:
        return f"metadata keys have 1 to {MAX_METADATA_KEY} characters"
    if not _is_text(key):
        return "metadata keys hold whole characters, not half of a surrogate pair"
    if key.startswith("_"):
        return "metadata keys that begin with _ are reserved: rename it"
    if any(character in key for character in ".[]\"'\x00"):
        return (
            "metadata keys must not have dots, brackets or quotes, since filters use these: "
            'rename it, or write {"camera": {"make": …}} for camera.make'
        )
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
        return [None if each is None else _scalar(each, kind) for each in value]
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


def shown(value: Any) -> str:
    """A value for a message: its JSON, shortened if it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return "…"
    return text if len(text) <= 60 else text[:57] + "..."
