"""eq, ne, in, nin: the same value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lookalike_crds.image_collection import FieldType
from lookalike_serving.index.filters.conditions import C, Conditions, never
from lookalike_serving.index.filters.presence import IsNull
from lookalike_serving.index.filters.ranges import between, during
from lookalike_serving.index.filters.tree import Filter, Predicate
from lookalike_serving.index.filters.values import (
    INTEGERS,
    MAX_EXACT_INTEGER,
    MAX_TEXT,
    MAX_VALUES,
    SCALAR,
    Scalar,
    Shape,
    WrongFilter,
    is_large_whole,
    is_number,
    is_scalar,
    shown,
)
from lookalike_serving.index.floats import settled
from lookalike_serving.index.moments import FORMS, is_moment, moment

SCALAR_OR_NULL: Shape = {"anyOf": [*SCALAR["anyOf"], {"type": "null"}]}
SCALARS: Shape = {"type": "array", "minItems": 1, "maxItems": MAX_VALUES, "items": SCALAR}

_TYPES = frozenset(
    {
        FieldType.KEYWORD,
        FieldType.INTEGER,
        FieldType.FLOAT,
        FieldType.BOOL,
        FieldType.DATETIME,
    }
)


@dataclass(frozen=True, slots=True)
class Equals(Predicate):
    served_by: ClassVar = _TYPES

    value: Scalar

    def written(self) -> tuple[str, Any]:
        return "eq", self.value

    def misfit(self, field_type: FieldType) -> str | None:
        return no_moment(field_type, self.value)

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        return equal(on, self.path, self.value, field_type)


@dataclass(frozen=True, slots=True)
class OneOf(Predicate):
    served_by: ClassVar = _TYPES

    values: tuple[Scalar, ...]

    def written(self) -> tuple[str, Any]:
        return "in", list(self.values)

    def misfit(self, field_type: FieldType) -> str | None:
        return no_moment(field_type, *self.values)

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        # Texts and integers that are matched exactly go to the engine as one set.
        exact: dict[type, list[Any]] = {str: [], int: []}
        rest: list[Scalar] = []
        for value in self.values:
            exact.get(type(value) if _is_exact(value, field_type) else float, rest).append(value)
        among = [on.is_one_of(self.path, values) for values in exact.values() if values]
        among += [equal(on, self.path, value, field_type) for value in rest]
        return on.any_of(among) if among else never(on)


def read_equal(operator: str, key: str, value: Any) -> Filter:
    """Raises WrongFilter."""
    return IsNull(key) if value is None else Equals(key, read_scalar(operator, value))


def read_one_of(operator: str, key: str, value: Any) -> OneOf:
    """Raises WrongFilter."""
    if not isinstance(value, list) or not value:
        raise WrongFilter(
            f'{operator} takes a list of values, such as ["a", "b"], not {shown(value)}'
        )
    if len(value) > MAX_VALUES:
        raise WrongFilter(f"{operator} takes at most {MAX_VALUES} values, not {len(value)}")
    if not all(is_scalar(each) for each in value):
        raise WrongFilter(f"{operator} takes strings, numbers and booleans, not {shown(value)}")
    return OneOf(key, tuple(value))


def read_scalar(operator: str, value: Any) -> Scalar:
    """Raises WrongFilter."""
    if isinstance(value, Scalar) and is_scalar(value):
        return value
    match value:
        case list():
            remedy = "use in for several values"
        case dict():
            remedy = "compare a nested key"
        case str():
            remedy = f"write valid Unicode of at most {MAX_TEXT} characters"
        case _:
            remedy = "write a finite number, an integer of at most 64 bits"
    raise WrongFilter(
        f"{operator} takes a string, a number or a boolean, not {shown(value)}: {remedy}"
    )


def equal(on: Conditions[C], path: str, value: Scalar, field_type: FieldType | None) -> C:
    """What is at `path` equals `value`."""
    if _is_exact(value, field_type):
        values: Sequence[Any] = [value]
        return on.is_one_of(path, values)
    match value:
        case bool():
            return on.is_bool(path, value)
        case str():
            try:
                at = moment(value)
            except ValueError:
                return never(on)
            return during(on, path, {"gte": at, "lte": at}, field_type)
        case _ if not is_number(value):
            return never(on)
    # As a range, because an exact match on 1 would not find a stored 1.0.
    number = float(value)
    if not is_large_whole(number):
        number = settled(number)
    return between(on, path, {"gte": number, "lte": number}, field_type)


def no_moment(field_type: FieldType, *values: Scalar) -> str | None:
    """What is wrong with texts that a Datetime field is compared with; None if nothing is."""
    for value in values:
        if field_type is FieldType.DATETIME and isinstance(value, str) and not is_moment(value):
            return f"is compared with a Datetime field, and {shown(value)} is not a time: {FORMS}"
    return None


def _is_exact(value: Scalar, field_type: FieldType | None) -> bool:
    """Whether engines find just what is equal to a value by looking it up."""
    match value:
        case bool() | float():
            return False
        case str():
            return field_type is not FieldType.DATETIME
        case int():
            integer = field_type is FieldType.INTEGER or abs(value) > MAX_EXACT_INTEGER
            return integer and value in INTEGERS
