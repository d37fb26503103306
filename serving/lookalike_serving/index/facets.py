"""Counts of the values of one metadata key: what engines return for a facet, and how it is cut.

Engines count the values of a payload index; Keyword, Integer and Bool have one that supports this.
A document counts once for each distinct value that it holds, so a list counts for each of its
elements. A value of another type than the field's is in no index and is not counted.

All values of a key are read, and the most frequent ones are chosen here, because the choice of the
engines is not reliable: Qdrant Edge 0.9, asked for 20 of 20,000 values, omits more frequent ones.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.index.moments import moment
from lookalike_serving.index.protocol import Choice, IndexRefused, Value, ValueCounts

MAX_DISTINCT = 50_000
"""Values read of one key, some 60 ms. Of a key with more the engine chooses these, not exactly."""

COUNTED: dict[FieldType, type[Value]] = {
    FieldType.KEYWORD: str,
    FieldType.INTEGER: int,
    FieldType.BOOL: bool,
}
"""The field types whose values engines count."""
ORDERED = frozenset({FieldType.INTEGER, FieldType.FLOAT, FieldType.DATETIME})
"""The field types that have a smallest and a largest value, and ranges."""


def field_type_of(key: str, fields: Iterable[FieldSpec]) -> FieldType:
    """Raises IndexRefused if no payload index holds the key."""
    for field in fields:
        if field.name == key:
            return field.type
    raise IndexRefused(f"no payload index holds {key!r}: list it in spec.fields")


def counted_type(key: str, fields: Iterable[FieldSpec]) -> type[Value]:
    """What the values of a key are in Python. Raises IndexRefused if they are not counted."""
    field_type = field_type_of(key, fields)
    if field_type not in COUNTED:
        raise IndexRefused(f"{key!r} is a {field_type.value} field, whose values are not counted")
    return COUNTED[field_type]


def check_ordered(key: str, fields: Iterable[FieldSpec]) -> FieldType:
    """Raises IndexRefused if the values of a key have no order."""
    field_type = field_type_of(key, fields)
    if field_type not in ORDERED:
        raise IndexRefused(f"{key!r} is a {field_type.value} field, whose values have no order")
    return field_type


def chosen(counts: Mapping[Value, int], choice: Choice, *, exact: bool) -> ValueCounts:
    """`counts`: all that the engine told, at most MAX_DISTINCT, of one type."""
    complete = len(counts) < MAX_DISTINCT
    found: Mapping[Value, int] = counts
    if choice.contains is not None:
        part = choice.contains.casefold()
        found = {each: n for each, n in counts.items() if part in written(each).casefold()}
    top = heapq.nsmallest(choice.limit, found.items(), key=lambda each: (-each[1], each[0]))
    told = {each for each, _ in top}
    also = [(each, counts.get(each, 0)) for each in choice.also if each not in told]
    return ValueCounts((*top, *also), len(found) if complete else None, exact and complete)


def written(value: Value) -> str:
    """A value as JSON shows it, text without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def ordered_values(stored: Any, field_type: FieldType) -> list[Any]:
    """What an index of `field_type` holds of a payload's value: numbers, or points in time."""
    values = stored if isinstance(stored, list) else [stored]
    return [read for each in values if (read := _ordered(each, field_type)) is not None]


def _ordered(value: Any, field_type: FieldType) -> Any:
    if field_type is FieldType.DATETIME:
        try:
            return moment(value) if isinstance(value, str) else None
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return None if field_type is FieldType.INTEGER and isinstance(value, float) else value


def value_at(payload: Mapping[str, Any], key: str) -> Any:
    """What a payload holds at a path with dots; of a list of objects, what each of them holds."""
    found: Any = payload
    for name in key.split("."):
        if isinstance(found, list):
            found = [each.get(name) for each in found if isinstance(each, dict)]
        elif isinstance(found, dict):
            found = found.get(name)
        else:
            return None
    return found
