"""The comparisons that all of Qdrant's engines have: what filters are compiled to.

An engine implements `Conditions` and nothing else of filters. `path` is always a key in the
engines' JSON-path syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypedDict, TypeVar

C = TypeVar("C")
"""A condition of an engine."""


class Numbers(TypedDict, total=False):
    """Bounds of a range of numbers."""

    gt: float
    gte: float
    lt: float
    lte: float


class Moments(TypedDict, total=False):
    """Bounds of a range of points in time; all carry a time zone."""

    gt: datetime
    gte: datetime
    lt: datetime
    lte: datetime


class Conditions(Protocol[C]):
    """Makes an engine's conditions."""

    def all_of(self, of: Sequence[C]) -> C: ...

    def any_of(self, of: Sequence[C]) -> C:
        """At least one of `of`, which is not empty: `never` is for that."""
        ...

    def none_of(self, of: Sequence[C]) -> C: ...

    def within(self, path: str, inner: C) -> C:
        """One object of the list at `path` meets `inner`, whose paths are its own."""
        ...

    def has_id(self, ids: Sequence[str]) -> C: ...

    def is_empty(self, path: str) -> C:
        """Missing, null or the empty list."""
        ...

    def is_null(self, path: str) -> C: ...

    def is_one_of(self, path: str, values: Sequence[str] | Sequence[int]) -> C:
        """Equals one of `values`, which are of one type, and at least one."""
        ...

    def is_bool(self, path: str, value: bool) -> C: ...

    def between(self, path: str, bounds: Numbers) -> C: ...

    def during(self, path: str, bounds: Moments) -> C: ...

    def starts_with(self, path: str, prefix: str) -> C: ...

    def contains(self, path: str, substring: str) -> C: ...

    def has_words(self, path: str, text: str) -> C:
        """Every word of `text`, as the engine separates them."""
        ...

    def in_circle(self, path: str, lat: float, lon: float, radius_m: float) -> C:
        """Closer than `radius_m`: without the edge itself."""
        ...

    def in_box(self, path: str, top: float, left: float, bottom: float, right: float) -> C:
        """Without its edges."""
        ...


def never(on: Conditions[C]) -> C:
    """Holds for no document."""
    return on.has_id(())
