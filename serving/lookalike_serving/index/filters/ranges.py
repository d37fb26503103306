"""gt, gte, lt, lte: numbers and points in time, compared by their order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from lookalike_crds.image_collection import FieldType
from lookalike_serving.index.filters.conditions import C, Conditions, Moments, Numbers, never
from lookalike_serving.index.filters.tree import And, Filter, Or, Predicate, keys
from lookalike_serving.index.filters.values import (
    INTEGERS,
    NUMBER,
    Shape,
    WrongFilter,
    is_large_whole,
    is_number,
    shown,
)
from lookalike_serving.index.floats import settled
from lookalike_serving.index.moments import FORMS, moment

Side = Literal["gt", "gte", "lt", "lte"]
End = int | float | datetime

BOUND: Shape = {"anyOf": [NUMBER, {"type": "string", "format": "date-time"}]}


@dataclass(frozen=True, slots=True)
class Bound(Predicate):
    """One end of a range. All bounds of one key within an And are one range: see `one_range`."""

    served_by: ClassVar = frozenset({FieldType.INTEGER, FieldType.FLOAT, FieldType.DATETIME})

    side: Side
    value: End

    def written(self) -> tuple[str, Any]:
        value = self.value
        return self.side, value.isoformat() if isinstance(value, datetime) else value

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        return one_range(on, [self], field_type)


def read_bound(side: Side, key: str, value: Any) -> Bound:
    """Raises WrongFilter."""
    return Bound(key, side, read_end(side, value))


def read_end(name: str, value: Any) -> End:
    """One end of a range, which errors call `name`. Raises WrongFilter."""
    if isinstance(value, str):
        try:
            return moment(value)
        except ValueError:
            pass
    if not isinstance(value, int | float) or not is_number(value):
        raise WrongFilter(f"{name} takes a number or a time, not {shown(value)}. A time: {FORMS}")
    if is_large_whole(value) and int(float(value)) != value:
        raise WrongFilter(
            f"{name} cannot use {shown(value)}: it is between two 64-bit floats, which ranges "
            f"compare with. Beyond 2^53, round it to one of them, such as {int(float(value))}"
        )
    return value


def within(key: str, low: End | None, high: End | None, among: Filter | None) -> Filter:
    """The documents of `among` with a value from `low`, included, to `high`, not included."""
    return And(tuple(_within(key, low, high, among)))


def _within(key: str, low: End | None, high: End | None, among: Filter | None) -> Iterator[Filter]:
    if among is not None:
        # An Or of its own: the value that meets a bound of `among` may be another one of a list.
        yield Or((among,)) if key in keys(among) else among
    if low is not None:
        yield Bound(key, "gte", low)
    if high is not None:
        yield Bound(key, "lt", high)


def one_range(on: Conditions[C], bounds: Sequence[Bound], field_type: FieldType | None) -> C:
    """One number, or one moment, of the bounds' key meets all of them."""
    moments: dict[str, datetime] = {}
    numbers: dict[str, float] = {}
    for bound in bounds:
        if isinstance(bound.value, datetime):
            _tighten(moments, bound.side, bound.value)
            continue
        side, number = bound.side, float(bound.value)
        if field_type is FieldType.INTEGER:
            whole = _whole(side, bound.value)
            if whole is None:
                return never(on)
            side, number = whole
        elif not is_large_whole(number):
            number = settled(number)
        _tighten(numbers, side, number)
    path = bounds[0].path
    if moments and numbers:
        return never(on)
    if moments:
        return during(on, path, moments, field_type)  # type: ignore[arg-type]
    return between(on, path, numbers, field_type)  # type: ignore[arg-type]


# Qdrant's indexes of datetimes hold numbers, microseconds, and answer either kind of range.


def during(on: Conditions[C], path: str, bounds: Moments, field_type: FieldType | None) -> C:
    """A point in time within the bounds."""
    numeric = field_type in (FieldType.INTEGER, FieldType.FLOAT)
    return never(on) if numeric else on.during(path, bounds)


def between(on: Conditions[C], path: str, bounds: Numbers, field_type: FieldType | None) -> C:
    """A number within the bounds."""
    return never(on) if field_type is FieldType.DATETIME else on.between(path, bounds)


def _tighten(bounds: dict[str, Any], side: Side, value: Any) -> None:
    """Of two bounds of one kind the stricter one counts."""
    stricter = max if side in ("gt", "gte") else min
    bounds[side] = stricter(bounds[side], value) if side in bounds else value


def _whole(side: Side, value: float) -> tuple[Side, float] | None:
    """A bound on whole numbers of 64 bits, as (side, float); None if none of them meets it.

    Engines compare Integer fields exactly, once the bound is a whole number that a float holds.
    """
    rounded = math.floor(value) if side in ("gt", "lte") else math.ceil(value)
    if side in ("gt", "gte"):
        first = rounded + (side == "gt")
        if first not in INTEGERS:
            return None if first > 0 else ("gte", float(INTEGERS[0]))
    else:
        last = rounded - (side == "lt")
        if last not in INTEGERS:
            return None if last < 0 else ("lte", float(INTEGERS[-1]))
    return side, float(rounded)
