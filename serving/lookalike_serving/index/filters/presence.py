"""exists, is_null: whether there is a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lookalike_crds.image_collection import FieldType
from lookalike_serving.index.filters.conditions import C, Conditions
from lookalike_serving.index.filters.tree import Filter, Not, Predicate
from lookalike_serving.index.filters.values import Shape, WrongFilter, shown

FLAG: Shape = {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Exists(Predicate):
    served_by: ClassVar = frozenset(FieldType)

    def written(self) -> tuple[str, Any]:
        return "exists", True

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        return on.none_of([on.is_empty(self.path)])


@dataclass(frozen=True, slots=True)
class IsNull(Predicate):
    served_by: ClassVar = frozenset(FieldType)

    def written(self) -> tuple[str, Any]:
        return "is_null", True

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        return on.is_null(self.path)


def read_exists(key: str, value: Any) -> Filter:
    """Raises WrongFilter."""
    return _if_true("exists", Exists(key), value)


def read_is_null(key: str, value: Any) -> Filter:
    """Raises WrongFilter."""
    return _if_true("is_null", IsNull(key), value)


def _if_true(operator: str, predicate: Predicate, value: Any) -> Filter:
    if not isinstance(value, bool):
        raise WrongFilter(f"{operator} takes true or false, not {shown(value)}")
    return predicate if value else Not((predicate,))
