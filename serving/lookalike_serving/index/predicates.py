"""Filters in the vocabulary that Qdrant's engines share: checked, typed and with no choices left.

A request's filter (`filters.py`) says what a user means; what that means exactly – which
types compare, what a list matches, how a missing key counts – is settled here, once, so that
`edge_filters.py` and `qdrant_filters.py` are mere translations and cannot disagree.

The rules:

- A key that holds a list matches if any of its elements does.
- Types are strict: `1`, `"1"` and `true` are three values; `1` and `1.0` are one.
- `ne`, `nin` and Not are exact negations, so they hold for documents that lack the key.
- gt, gte, lt and lte take numbers or datetimes (moments.py). All bounds of one key within an And
  are one range: of a list one element must meet them all. Integer fields compare exactly; other
  numbers as 64-bit floats to about 15 digits (floats.py). Equality of integers is exact.
- geo_box and geo_radius include their edges. A box with its left east of its right crosses the
  antimeridian; -180 and 180 are two longitudes.
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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lookalike_crds import payload_indexes
from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.index.filters import And, Condition, Filter, HasId, Not, Operator, Or
from lookalike_serving.index.floats import settled
from lookalike_serving.index.moments import FORMS, moment
from lookalike_serving.index.protocol import IndexRefused
from lookalike_serving.index.values import INT64_MAX, INT64_MIN, MAX_DEPTH, checked_id

MAX_EXACT_INTEGER = 2**53 - 1
"""Integers up to here have a 64-bit float of their own (IEEE 754)."""
_EARTH_RADIUS_M = 6_371_000
_MARGIN, _MARGIN_METRES, _MARGIN_DEGREES = 1.001, 1.0, 1e-3
"""What an index is asked for beyond a circle or a box; the edge itself is compared exactly."""
_BEFORE_POLE, _BEFORE_ANTIMERIDIAN = 89.9, 179.9


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
class Within:
    """One object of the list at `key` meets `of`, whose keys are its own."""

    key: str
    of: Predicate


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
Predicate = Leaf | Within | All | AnyOf | NoneOf

NEVER = Ids(())

_BOUNDS = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
_BETWEEN_FLOATS = (
    "lies between two 64-bit floats, which ranges compare with: beyond 2^53 round it to one"
)


def lower(filter: Filter, fields: Iterable[FieldSpec]) -> Predicate:
    """The predicate that `filter` means. Raises IndexRefused for what has no meaning."""
    return _lower(filter, {field.name: field.type for field in fields}, 0)


def _lower(filter: Filter, types: Mapping[str, FieldType], depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise IndexRefused(f"the filter is nested deeper than {MAX_DEPTH} levels: flatten it")
    match filter:
        case Condition():
            return _condition(filter, types)
        case And():
            return All(tuple(_joined(filter, types, depth)))
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
            return _range(key, [condition], field_type)
        case Operator.CONTAINS:
            return _contains(key, value, field_type, condition)
        case Operator.STARTS_WITH:
            return StartsWith(key, _text(value, condition))
        case Operator.TEXT:
            text = _text(value, condition)
            if not re.search(r"[^\W_]", text):
                raise _refused(condition, "has no word in it: pass at least one")
            return _words(key, text)
        case Operator.EXISTS:
            empty = IsEmpty(key)
            return NoneOf((empty,)) if _flag(value, condition) else empty
        case Operator.IS_NULL:
            null = IsNull(key)
            return null if _flag(value, condition) else NoneOf((null,))
        case Operator.GEO_RADIUS:
            return _circle(key, value, field_type, condition)
        case Operator.GEO_BOX:
            return _box(key, value, field_type, condition)


def _words(key: str, text: str) -> Predicate:
    """Engines know words by what is between them. Where scripts have nothing there, parts do."""
    words = re.findall(r"[^\W_]+", text)
    unspaced = [word for word in words if _UNSPACED.search(word)]
    spaced = " ".join(word for word in words if not _UNSPACED.search(word))
    parts: list[Predicate] = [Contains(key, word) for word in unspaced]
    if spaced:
        parts.append(Words(key, spaced))
    return parts[0] if len(parts) == 1 else All(tuple(parts))


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
        if not _is_large_whole(number):
            number = settled(number)
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


def _joined(filter: And, types: Mapping[str, FieldType], depth: int) -> Iterator[Predicate]:
    """The parts of an And, those of Ands within it, too: all bounds of one key are one range."""
    ranges: dict[str, list[Condition]] = {}
    pending = [(each, depth + 1) for each in filter.of]
    while pending:
        each, at = pending.pop(0)
        if isinstance(each, And) and at <= MAX_DEPTH:
            pending[:0] = [(inner, at + 1) for inner in each.of]
        elif isinstance(each, Condition) and each.operator in _BOUNDS:
            ranges.setdefault(each.key, []).append(each)
        else:
            yield _lower(each, types, at)
    for key, bounds in ranges.items():
        yield _range(json_path(key), bounds, types.get(key))


def _range(key: str, conditions: list[Condition], field_type: FieldType | None) -> Predicate:
    """What one number, or one moment, of a key must meet."""
    times: dict[str, datetime] = {}
    numbers: dict[str, float] = {}
    for condition in conditions:
        bound, value = condition.operator.value, condition.value
        if isinstance(value, str):
            _tighten(times, bound, _moment(value, condition))
            continue
        number = _number(value, condition)
        if field_type is FieldType.INTEGER:
            whole = _whole(condition.operator, value, condition)
            if whole is None:
                return NEVER
            bound, number = whole
        elif not _is_large_whole(number):
            number = settled(number)
        elif int(number) != int(value):
            raise _refused(condition, _BETWEEN_FLOATS)
        _tighten(numbers, bound, number)
    if times and numbers:
        return NEVER
    if times:
        return _during(key, times, field_type)
    return _between(key, numbers, field_type)


def _tighten(bounds: dict[str, Any], bound: str, value: Any) -> None:
    """Of two bounds of one kind the stricter one counts."""
    stricter = max if bound in ("gt", "gte") else min
    bounds[bound] = stricter(bounds[bound], value) if bound in bounds else value


def _whole(operator: Operator, value: float, condition: Condition) -> tuple[str, float] | None:
    """A bound on whole numbers of 64 bits, as (bound, float); None where none of them meets it.

    Engines compare Integer fields exactly, once the bound is a whole number that a float holds.
    """
    rounded = math.floor(value) if operator in (Operator.GT, Operator.LTE) else math.ceil(value)
    if operator in (Operator.GT, Operator.GTE):
        first = rounded + (operator is Operator.GT)
        if first > INT64_MAX:
            return None
        if first <= INT64_MIN:
            return "gte", float(INT64_MIN)
    else:
        last = rounded - (operator is Operator.LT)
        if last < INT64_MIN:
            return None
        if last >= INT64_MAX:
            return "lte", float(INT64_MAX)
    if int(float(rounded)) != rounded:
        raise _refused(condition, _BETWEEN_FLOATS)
    return operator.value, float(rounded)


def _is_large_whole(number: float) -> bool:
    return abs(number) > MAX_EXACT_INTEGER and number.is_integer()


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


def _circle(key: str, value: Any, field_type: FieldType | None, condition: Condition) -> Predicate:
    lat, lon = _point(value, condition)
    radius = value.get("radius_m")
    if isinstance(radius, bool) or not isinstance(radius, int | float) or not 0 <= radius < 1e9:
        raise _refused(condition, 'needs "radius_m", metres, 0 or more')
    # Engines leave the edge itself out.
    exact = Circle(key, lat, lon, math.nextafter(float(radius), math.inf))
    if field_type is not FieldType.GEO:
        return exact
    # A geo index looks up cells of the map, and misses some at a pole and in tiny circles. What is
    # doubly negated is compared with each document instead.
    compared = NoneOf((NoneOf((exact,)),))
    reach = math.degrees(radius * _MARGIN / _EARTH_RADIUS_M) + _MARGIN_DEGREES
    if abs(lat) + reach > _BEFORE_POLE:
        return compared
    return All((Circle(key, lat, lon, radius * _MARGIN + _MARGIN_METRES), compared))


def _box(key: str, value: Any, field_type: FieldType | None, condition: Condition) -> Predicate:
    if not isinstance(value, Mapping):
        raise _refused(condition, 'must be {"top_left": {…}, "bottom_right": {…}}')
    top, left = _point(value.get("top_left"), condition)
    bottom, right = _point(value.get("bottom_right"), condition)
    if top < bottom:
        raise _refused(condition, "has its top south of its bottom: swap the latitudes")
    inside = _in_box(top, left, bottom, right)
    # One object, or one of a list of them. Engines' own boxes leave their edges out.
    exact = AnyOf((_at(key, inside), Within(key, inside)))
    near_a_pole = max(abs(top), abs(bottom)) > _BEFORE_POLE
    near_antimeridian = max(abs(left), abs(right)) > _BEFORE_ANTIMERIDIAN
    if field_type is not FieldType.GEO or near_a_pole or near_antimeridian:
        return exact
    more = _MARGIN_DEGREES
    return All((Box(key, top + more, left - more, bottom - more, right + more), exact))


def _in_box(top: float, left: float, bottom: float, right: float) -> Predicate:
    between = Between("lat", gte=bottom, lte=top)
    if left <= right:
        return All((between, Between("lon", gte=left, lte=right)))
    return All((between, AnyOf((Between("lon", gte=left), Between("lon", lte=right)))))


def _at(key: str, inside: Predicate) -> Predicate:
    """The same on the object at `key`."""
    match inside:
        case All(of):
            return All(tuple(_at(key, each) for each in of))
        case AnyOf(of):
            return AnyOf(tuple(_at(key, each) for each in of))
        case Between():
            return replace(inside, key=f"{key}.{inside.key}")
    raise AssertionError(inside)


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
    try:
        return moment(value)
    except ValueError:
        raise _refused(condition, f"is no RFC 3339 datetime: {FORMS}") from None


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


_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


def json_path(key: str) -> str:
    """`key` in the engines' JSON-path syntax. Raises IndexRefused."""
    try:
        return payload_indexes.json_path(key)
    except ValueError as error:
        raise IndexRefused(str(error)) from None
