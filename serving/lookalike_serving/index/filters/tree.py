"""The filter tree: And, Or and Not over predicates, independent of any engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.payload_indexes import RESERVED, json_path
from lookalike_serving.index.filters.conditions import C, Conditions


@dataclass(frozen=True, slots=True)
class Predicate(ABC):
    """What the values of one metadata key are compared with."""

    served_by: ClassVar[frozenset[FieldType]]
    """The field types whose payload index answers it."""

    key: str
    """A top-level metadata key, or a path of keys joined by dots."""

    @property
    def path(self) -> str:
        """The key in the engines' JSON-path syntax."""
        return json_path(self.key)

    @abstractmethod
    def written(self) -> tuple[str, Any]:
        """(operator, value) as a request writes them."""

    def misfit(self, field_type: FieldType) -> str | None:
        """Why a request is not to compare a field of this type so; None if it may."""
        return None

    @abstractmethod
    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        """What it means for a field of this type; None: the key is not declared."""


@dataclass(frozen=True, slots=True)
class And:
    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one; without any it holds for no document."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """None of `of` holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class HasId:
    ids: tuple[str, ...]
    """UUIDs of points."""


Filter = Predicate | And | Or | Not | HasId


def predicates(filter: Filter) -> Iterator[Predicate]:
    """All that the tree holds, in order of appearance."""
    match filter:
        case Predicate():
            yield filter
        case And(of) | Or(of) | Not(of):
            for each in of:
                yield from predicates(each)
        case HasId():
            pass


def keys(filter: Filter) -> set[str]:
    """The metadata keys that the filter names."""
    return {predicate.key for predicate in predicates(filter)}


def unindexed_keys(filter: Filter, fields: Iterable[FieldSpec]) -> list[str]:
    """The filter's metadata keys that no payload index serves, in order of appearance.

    Such a filter works, but reads every document it is asked about. Keys of Lookalike's own part
    of the payload are left out: users cannot index them.
    """
    types = {field.name: field.type for field in fields}
    found = {
        predicate.key: None
        for predicate in predicates(filter)
        if predicate.key.partition(".")[0] != RESERVED
        and types.get(predicate.key) not in predicate.served_by
    }
    return list(found)
