"""Predicates as Qdrant Edge's own conditions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

import numpy as np
import qdrant_edge as edge

from lookalike_crds.image_collection import FieldSpec
from lookalike_serving.index import predicates as p
from lookalike_serving.index.filters import Filter


def compile_filter(filter: Filter | None, fields: Iterable[FieldSpec]) -> edge.Filter | None:
    """Edge's form of `filter`; None stays None. Raises IndexRefused."""
    if filter is None:
        return None
    return edge.Filter(must=[_compile(p.lower(filter, fields))])


def _compile(predicate: p.Predicate) -> Any:
    match predicate:
        case p.All(of):
            return edge.Filter(must=[_compile(each) for each in of])
        case p.AnyOf(of):
            # An empty `should` would hold for everything; `lower` never makes one.
            return edge.Filter(should=[_compile(each) for each in of])
        case p.NoneOf(of):
            return edge.Filter(must_not=[_compile(each) for each in of])
        case p.Within(key, of):
            return edge.NestedCondition(key, edge.Filter(must=[_compile(of)]))
        case p.Ids(ids):
            return edge.HasIdCondition(set(ids))
        case p.IsEmpty(key):
            return edge.IsEmptyCondition(key)
        case p.IsNull(key):
            return edge.IsNullCondition(key)
        case p.Matches(key, (value,)):
            return edge.FieldCondition(key, match=edge.MatchValue(value))
        case p.Matches(key, values):
            return edge.FieldCondition(key, match=edge.MatchAny(cast("list[str]", list(values))))
        case p.IsBool(key, value):
            # Edge 0.9 reads a Python bool as the integer it is a subclass of, and then finds
            # 1 for True; NumPy's bool is no integer.
            return edge.FieldCondition(key, match=edge.MatchValue(cast(bool, np.bool_(value))))
        case p.Between(key, gt, gte, lt, lte):
            return edge.FieldCondition(key, range=edge.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte))
        case p.During(key, gt, gte, lt, lte):
            return edge.FieldCondition(
                key,
                range=edge.RangeDateTime(gt=_iso(gt), gte=_iso(gte), lt=_iso(lt), lte=_iso(lte)),
            )
        case p.StartsWith(key, prefix):
            return edge.FieldCondition(key, match=edge.MatchPrefix(prefix))
        case p.Contains(key, substring):
            return edge.FieldCondition(key, match=edge.MatchSubstring(substring))
        case p.Words(key, text):
            return edge.FieldCondition(key, match=edge.MatchText(text))
        case p.Circle(key, lat, lon, radius_m):
            return edge.FieldCondition(
                key, geo_radius=edge.GeoRadius(edge.GeoPoint(lon, lat), radius_m)
            )
        case p.Box(key, top, left, bottom, right):
            return edge.FieldCondition(
                key,
                geo_bounding_box=edge.GeoBoundingBox(
                    edge.GeoPoint(left, top), edge.GeoPoint(right, bottom)
                ),
            )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
