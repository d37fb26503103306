"""The filter tree, independent of any engine.

Requests are parsed into it (`search/filters.py`), engines compile it to their own form. Keys
name top-level metadata fields, or paths with dots.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


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
