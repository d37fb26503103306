"""Filters as Qdrant Edge's own conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

import numpy as np
import qdrant_edge as edge

from lookalike_crds.image_collection import FieldSpec
from lookalike_serving.index.filters.compiled import compiled
from lookalike_serving.index.filters.conditions import Moments, Numbers
from lookalike_serving.index.filters.tree import Filter


def compile_filter(filter: Filter | None, fields: Iterable[FieldSpec]) -> edge.Filter | None:
    """Edge's form of `filter`; None stays None."""
    if filter is None:
        return None
    return edge.Filter(must=[compiled(filter, fields, _EdgeConditions())])


class _EdgeConditions:
    """`filters.conditions.Conditions` of Qdrant Edge."""

    def all_of(self, of: Sequence[Any]) -> Any:
        return edge.Filter(must=list(of))

    def any_of(self, of: Sequence[Any]) -> Any:
        return edge.Filter(should=list(of))

    def none_of(self, of: Sequence[Any]) -> Any:
        return edge.Filter(must_not=list(of))

    def within(self, path: str, inner: Any) -> Any:
        return edge.NestedCondition(path, edge.Filter(must=[inner]))

    def has_id(self, ids: Sequence[str]) -> Any:
        return edge.HasIdCondition(set(ids))

    def is_empty(self, path: str) -> Any:
        return edge.IsEmptyCondition(path)

    def is_null(self, path: str) -> Any:
        return edge.IsNullCondition(path)

    def is_one_of(self, path: str, values: Sequence[str] | Sequence[int]) -> Any:
        match values:
            case [value]:
                return edge.FieldCondition(path, match=edge.MatchValue(value))
            case _:
                return edge.FieldCondition(
                    path, match=edge.MatchAny(cast("list[str]", list(values)))
                )

    def is_bool(self, path: str, value: bool) -> Any:
        # Edge 0.9 reads a Python bool as the integer it is a subclass of, and then finds 1 for
        # True; NumPy's bool is no integer.
        return edge.FieldCondition(path, match=edge.MatchValue(cast(bool, np.bool_(value))))

    def between(self, path: str, bounds: Numbers) -> Any:
        return edge.FieldCondition(path, range=edge.RangeFloat(**bounds))

    def during(self, path: str, bounds: Moments) -> Any:
        written = {side: cast(datetime, at).isoformat() for side, at in bounds.items()}
        return edge.FieldCondition(path, range=edge.RangeDateTime(**written))

    def starts_with(self, path: str, prefix: str) -> Any:
        return edge.FieldCondition(path, match=edge.MatchPrefix(prefix))

    def contains(self, path: str, substring: str) -> Any:
        return edge.FieldCondition(path, match=edge.MatchSubstring(substring))

    def has_words(self, path: str, text: str) -> Any:
        return edge.FieldCondition(path, match=edge.MatchText(text))

    def in_circle(self, path: str, lat: float, lon: float, radius_m: float) -> Any:
        center = edge.GeoPoint(lon, lat)
        return edge.FieldCondition(path, geo_radius=edge.GeoRadius(center, radius_m))

    def in_box(self, path: str, top: float, left: float, bottom: float, right: float) -> Any:
        box = edge.GeoBoundingBox(edge.GeoPoint(left, top), edge.GeoPoint(right, bottom))
        return edge.FieldCondition(path, geo_bounding_box=box)
