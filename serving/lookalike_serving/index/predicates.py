"""Filters in the vocabulary that Qdrant's engines share: checked, typed and with no choices left.

A request's filter (`filters.py`) says what a user means; what that means exactly – which
types compare, what a list matches, how a missing key counts – is settled here, once, so that
`edge_filters.py` and `qdrant_filters.py` are mere translations and cannot disagree.

The rules:

- A key that holds a list matches if any of its elements does.
- Types are strict: `1`, `"1"` and `true` are three values; `1` and `1.0` are one.
- `ne`, `nin` and Not are exact negations, so they hold for documents that lack the key.
- gt, gte, lt and lte take numbers or RFC 3339 datetimes (UTC where none is said). Numbers
  compare as 64-bit floats, equality of integers is exact.
- `eq` and `in` compare datetimes as points in time where the field is declared Datetime, and as
  text elsewhere.
- `contains`: substring of a text, or member of a list. Case counts, as for starts_with.
- `text`: every word occurs, in any order; case does not count.
- `exists`: the key holds something other than null and the empty list. `is_null`: it is null, or
  a list that holds a null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.index.filters import And, Condition, Filter, HasId, Not, Operator, Or
from lookalike_serving.index.protocol import IndexRefused
from lookalike_serving.index.values import INT64_MAX, INT64_MIN, MAX_DEPTH, checked_id

MAX_EXACT_INTEGER = 2**53 - 1
"""Integers up to here have a 64-bit float of their own (IEEE 754)."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Equals one of `values`, which are of one type."""

    key: str
    values: tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IsBool:
    key: str
    value: bool


@dataclass(frozen=True, slots=True)
class Between:
    key: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True, slots=True)
class During:
    """Like Between, for points in time; the bounds carry a time zone."""

    key: str
    gt: datetime | None = None
    gte: datetime | None = None
    lt: datetime | None = None
    lte: datetime | None = None


@dataclass(frozen=True, slots=True)
class StartsWith:
    key: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Contains:
    key: str
    substring: str


@dataclass(frozen=True, slots=True)
class Words:
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Circle:
    key: str
    lat: float
    lon: float
    radius_m: float


@dataclass(frozen=True, slots=True)
class Box:
    key: str
    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True, slots=True)
class IsEmpty:
    """Missing, null or the empty list."""

    key: str


@dataclass(frozen=True, slots=True)
class IsNull:
    key: str


@dataclass(frozen=True, slots=True)
class Ids:
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class All:
    of: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one; never holds where `of` is empty."""

    of: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    of: tuple[Predicate, ...]


Leaf = (
    Matches
    | IsBool
    | Between
    | During
    | StartsWith
    | Contains
    | Words
    | Circle
    | Box
    | IsEmpty
    | IsNull
    | Ids
)
Predicate = Leaf | All | AnyOf | NoneOf

NEVER = Ids(())


def lower(filter: Filter, fields: Iterable[FieldSpec]) -> Predicate:
    """The predicate that `filter` means. Raises IndexRefused for what has no meaning."""
    return _lower(filter, {field.name: field.type for field in fields}, 0)


def _lower(filter: Filter, types: Mapping[str, FieldType], depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise IndexRefused(f"the filter is nested deeper than {MAX_DEPTH} levels: flatten it")
    match filter:
        case Condition():
            return _condition(filter, types)
        case And(of):
            return All(tuple(_lower(each, types, depth + 1) for each in of))
        case Or(of):
            return AnyOf(tuple(_lower(each, types, depth + 1) for each in of)) if of else NEVER
        case Not(of):
            return NoneOf(tuple(_lower(each, types, depth + 1) for each in of))
        case HasId(ids):
            return Ids(tuple(checked_id(id) for id in ids))


def _condition(condition: Condition, types: Mapping[str, FieldType]) -> Predicate:
    key, value = json_path(condition.key), condition.value
    field_type = types.get(condition.key)
    match condition.operator:
        case Operator.EQ:
            return _equals(key, value, field_type, condition)
        case Operator.NE:
            return NoneOf((_equals(key, value, field_type, condition),))
        case Operator.IN:
            return _among(key, value, field_type, condition)
        case Operator.NIN:
            return NoneOf((_among(key, value, field_type, condition),))
        case Operator.GT | Operator.GTE | Operator.LT | Operator.LTE:
            return _ordered(key, value, field_type, condition)
        case Operator.CONTAINS:
            return _contains(key, value, field_type, condition)
        case Operator.STARTS_WITH:
            return StartsWith(key, _text(value, condition))
        case Operator.TEXT:
            text = _text(value, condition)
            if not re.search(r"[^\W_]", text):
                raise _refused(condition, "has no word in it: pass at least one")
            return Words(key, text)
        case Operator.EXISTS:
            empty = IsEmpty(key)
            return NoneOf((empty,)) if _flag(value, condition) else empty
        case Operator.IS_NULL:
            null = IsNull(key)
            return null if _flag(value, condition) else NoneOf((null,))
        case Operator.GEO_RADIUS:
            return _circle(key, value, condition)
        case Operator.GEO_BOX:
            return _box(key, value, condition)


def _equals(key: str, value: Any, field_type: FieldType | None, condition: Condition) -> Predicate:
    if value is None:
        return IsNull(key)
    if isinstance(value, bool):
        return IsBool(key, value)
    if isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise _refused(condition, "does not fit 64 signed bits, which no document holds")
        if field_type is FieldType.INTEGER or abs(value) > MAX_EXACT_INTEGER:
            return Matches(key, (value,))
        # As a range, because an exact match on 1 would not find a stored 1.0.
        return _between(key, {"gte": float(value), "lte": float(value)}, field_type)
    if isinstance(value, float):
        number = _number(value, condition)
        return _between(key, {"gte": number, "lte": number}, field_type)
    if isinstance(value, str):
        if field_type is FieldType.DATETIME:
            moment = _moment(value, condition)
            return During(key, gte=moment, lte=moment)
        return Matches(key, (_text(value, condition),))
    raise _refused(condition, "is no single value: pass text, a number or true/false")


def _among(key: str, value: Any, field_type: FieldType | None, condition: Condition) -> Predicate:
    if not isinstance(value, list | tuple | set | frozenset):
        raise _refused(condition, "is no list: write [value, …]")
    each = [_equals(key, item, field_type, condition) for item in value]
    # Texts and integers that are matched exactly go to the engine as one set.
    texts: list[str] = []
    integers: list[int] = []
    rest: list[Predicate] = []
    for predicate in each:
        if isinstance(predicate, Matches):
            for item in predicate.values:
                if isinstance(item, str):
                    texts.append(item)
                else:
                    integers.append(item)
        else:
            rest.append(predicate)
    if texts:
        rest.append(Matches(key, tuple(texts)))
    if integers:
        rest.append(Matches(key, tuple(integers)))
    return AnyOf(tuple(rest)) if rest else NEVER


def _ordered(key: str, value: Any, field_type: FieldType | None, condition: Condition) -> Predicate:
    bound = condition.operator.value
    if isinstance(value, str):
        return _during(key, {bound: _moment(value, condition)}, field_type)
    return _between(key, {bound: _number(value, condition)}, field_type)


# Qdrant's indexes of datetimes hold numbers, microseconds, and answer either kind of range.


def _during(key: str, bounds: dict[str, datetime], field_type: FieldType | None) -> Predicate:
    numeric = field_type in (FieldType.INTEGER, FieldType.FLOAT)
    return NEVER if numeric else During(key, **bounds)


def _between(key: str, bounds: dict[str, float], field_type: FieldType | None) -> Predicate:
    return NEVER if field_type is FieldType.DATETIME else Between(key, **bounds)


def _contains(
    key: str, value: Any, field_type: FieldType | None, condition: Condition
) -> Predicate:
    elements = f"{key}[]"
    member = _equals(elements, value, field_type, condition)
    if not isinstance(value, str) or field_type is FieldType.DATETIME:
        return member
    # A substring condition looks into list elements too; `key[]` has elements only in a list.
    return All((Contains(key, value), AnyOf((member, IsEmpty(elements)))))


def _circle(key: str, value: Any, condition: Condition) -> Predicate:
    lat, lon = _point(value, condition)
    radius = value.get("radius_m")
    if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 <= radius < 1e9:
        raise _refused(condition, 'needs "radius_m", metres, 0 or more')
    return Circle(key, lat, lon, float(radius))


def _box(key: str, value: Any, condition: Condition) -> Predicate:
    if not isinstance(value, Mapping):
        raise _refused(condition, 'must be {"top_left": {…}, "bottom_right": {…}}')
    top, left = _point(value.get("top_left"), condition)
    bottom, right = _point(value.get("bottom_right"), condition)
    if top < bottom:
        raise _refused(condition, "has its top south of its bottom: swap the latitudes")
    return Box(key, top, left, bottom, right)


def _point(value: Any, condition: Condition) -> tuple[float, float]:
    if isinstance(value, Mapping):
        lat, lon = value.get("lat"), value.get("lon")
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (lat, lon))
        if numbers and -90 <= lat <= 90 and -180 <= lon <= 180:  # type: ignore[operator]
            return float(lat), float(lon)  # type: ignore[arg-type]
    raise _refused(condition, 'needs "lat" within [-90, 90] and "lon" within [-180, 180]')


def _flag(value: Any, condition: Condition) -> bool:
    if value is None:
        return True
    if isinstance(value, bool):
        return value
    raise _refused(condition, "must be true or false")


def _number(value: Any, condition: Condition) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(condition, "cannot be ordered: pass a number or an RFC 3339 datetime")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _refused(condition, "is not a finite number")
    return number


def _moment(value: str, condition: Condition) -> datetime:
    # fromisoformat also reads week dates and the basic format, which engines do not.
    if re.match(r"\d{4}-\d\d-\d\d($|[Tt ])", value):
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                return moment.replace(tzinfo=UTC)
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise _refused(condition, "is no RFC 3339 datetime: write one like 2026-03-01T12:00:00Z")


def _text(value: Any, condition: Condition) -> str:
    if not isinstance(value, str):
        raise _refused(condition, "is no text: quote it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refused(condition, "is not valid Unicode") from None
    return value


def _refused(condition: Condition, why: str) -> IndexRefused:
    shown = repr(condition.value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
    return IndexRefused(
        f"filter on {condition.key!r}: the value {shown} of operator {condition.operator} {why}"
    )


_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9_-]+(\[\d*\])*")


def json_path(key: str) -> str:
    """`key` in the engines' JSON-path syntax: segments of other characters are quoted."""
    segments = []
    for segment in key.split("."):
        if _PLAIN_SEGMENT.fullmatch(segment):
            segments.append(segment)
        elif segment and '"' not in segment and segment.isprintable():
            segments.append(f'"{segment}"')
        else:
            raise IndexRefused(
                f"filter key {key!r} is no path: write metadata keys joined by single dots"
            )
    return ".".join(segments)
