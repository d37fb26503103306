"""The filter tree, independent of any engine.

Requests are parsed into it (`search/filters.py`), engines compile it to their own form. Keys
name top-level metadata fields, or paths with dots.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.payload_indexes import RESERVED


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"
    CONTAINS = "contains"  # substring of a text, or member of a list
    STARTS_WITH = "starts_with"
    EXISTS = "exists"
    IS_NULL = "is_null"
    TEXT = "text"  # full-text: every word occurs
    GEO_RADIUS = "geo_radius"  # {"lat", "lon", "radius_m"}
    GEO_BOX = "geo_box"  # {"top_left": {"lat", "lon"}, "bottom_right": {"lat", "lon"}}


@dataclass(frozen=True, slots=True)
class Condition:
    key: str
    operator: Operator
    value: Any = None


@dataclass(frozen=True, slots=True)
class And:
    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """None of `of` holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class HasId:
    ids: tuple[str, ...]


Filter = Condition | And | Or | Not | HasId

_EQUALITY = frozenset({Operator.EQ, Operator.NE, Operator.IN, Operator.NIN})
_ORDER = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
_PRESENCE = frozenset({Operator.EXISTS, Operator.IS_NULL})
_SERVED: dict[FieldType | None, frozenset[Operator]] = {
    FieldType.KEYWORD: _EQUALITY | _PRESENCE | {Operator.CONTAINS, Operator.STARTS_WITH},
    FieldType.INTEGER: _EQUALITY | _PRESENCE | _ORDER,
    FieldType.FLOAT: _EQUALITY | _PRESENCE | _ORDER,
    FieldType.BOOL: _EQUALITY | _PRESENCE,
    FieldType.DATETIME: _EQUALITY | _PRESENCE | _ORDER,
    FieldType.GEO: _PRESENCE | {Operator.GEO_RADIUS, Operator.GEO_BOX},
    FieldType.TEXT: _PRESENCE | {Operator.TEXT},
}
"""The operators that each type's payload index answers."""


def unindexed_keys(filter: Filter, fields: Iterable[FieldSpec]) -> list[str]:
    """The filter's metadata keys that no payload index serves, in order of appearance.

    Such a filter works, but reads every document it is asked about. Keys of Lookalike's own part
    of the payload are left out: users cannot index them.
    """
    types = {field.name: field.type for field in fields}
    found: dict[str, None] = {}
    pending: list[Filter] = [filter]
    while pending:
        match pending.pop(0):
            case Condition(key, operator):
                if key.partition(".")[0] != RESERVED and operator not in _SERVED.get(
                    types.get(key), ()
                ):
                    found[key] = None
            case And(of) | Or(of) | Not(of):
                pending[:0] = of
            case HasId():
                pass
    return list(found)
