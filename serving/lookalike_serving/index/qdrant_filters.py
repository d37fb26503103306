"""Predicates as conditions of a Qdrant server (and of qdrant-client's local mode)."""

from __future__ import annotations

from collections.abc import Iterable

from qdrant_client import models

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.qdrant_versions import SINCE, Version, lacking, written
from lookalike_serving.index import predicates as p
from lookalike_serving.index.filters import Filter
from lookalike_serving.index.protocol import IndexRefused


class NeedsNewer(IndexRefused):
    """The server is too old for an operator."""


def compile_filter(
    filter: Filter | None, fields: Iterable[FieldSpec], version: Version | None = None
) -> models.Filter | None:
    """Qdrant's form of `filter`; None stays None. `version` is the server's, where it is known.

    Raises IndexRefused.
    """
    if filter is None:
        return None
    predicate = p.lower(filter, fields)
    if lacks := lacking(version):
        _refuse_newer(predicate, lacks, version)
    return models.Filter(must=[_compile(predicate)])


def _refuse_newer(predicate: p.Predicate, lacks: list[str], version: Version | None) -> None:
    match predicate:
        case p.All(of) | p.AnyOf(of) | p.NoneOf(of):
            for each in of:
                _refuse_newer(each, lacks, version)
        case p.Contains(key) if "contains" in lacks:
            _newer("contains", "of a text", key, "text for whole words", version)
        case p.StartsWith(key) if "starts_with" in lacks:
            _newer("starts_with", "", key, "in with whole values", version)


def _newer(operator: str, what: str, key: str, instead: str, version: Version | None) -> None:
    assert version is not None
    raise NeedsNewer(
        f"filter on {key!r}: {operator} {what}".rstrip()
        + f" needs Qdrant {written(SINCE[operator])}, the server has {written(version)}: upgrade "
        f"it, or use {instead}"
    )


def _compile(predicate: p.Predicate) -> models.Condition:
    match predicate:
        case p.All(of):
            return models.Filter(must=[_compile(each) for each in of])
        case p.AnyOf(of):
            # An empty `should` would hold for everything; `lower` never makes one.
            return models.Filter(should=[_compile(each) for each in of])
        case p.NoneOf(of):
            return models.Filter(must_not=[_compile(each) for each in of])
        case p.Within(key, of):
            inner = models.Filter(must=[_compile(of)])
            return models.NestedCondition(nested=models.Nested(key=key, filter=inner))
        case p.Ids(ids):
            return models.HasIdCondition(has_id=list(ids))
        case p.IsEmpty(key):
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        case p.IsNull(key):
            return models.IsNullCondition(is_null=models.PayloadField(key=key))
        case p.Matches(key, (value,)):
            return models.FieldCondition(key=key, match=models.MatchValue(value=value))
        case p.Matches(key, values):
            return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))
        case p.IsBool(key, value):
            return models.FieldCondition(key=key, match=models.MatchValue(value=value))
        case p.Between(key, gt, gte, lt, lte):
            return models.FieldCondition(
                key=key, range=models.Range(gt=gt, gte=gte, lt=lt, lte=lte)
            )
        case p.During(key, gt, gte, lt, lte):
            return models.FieldCondition(
                key=key, range=models.DatetimeRange(gt=gt, gte=gte, lt=lt, lte=lte)
            )
        case p.StartsWith(key, prefix):
            return models.FieldCondition(key=key, match=models.MatchPrefix(prefix=prefix))
        case p.Contains(key, substring):
            return models.FieldCondition(key=key, match=models.MatchSubstring(substring=substring))
        case p.Words(key, text):
            return models.FieldCondition(key=key, match=models.MatchText(text=text))
        case p.Circle(key, lat, lon, radius_m):
            return models.FieldCondition(
                key=key,
                geo_radius=models.GeoRadius(
                    center=models.GeoPoint(lat=lat, lon=lon), radius=radius_m
                ),
            )
        case p.Box(key, top, left, bottom, right):
            return models.FieldCondition(
                key=key,
                geo_bounding_box=models.GeoBoundingBox(
                    top_left=models.GeoPoint(lat=top, lon=left),
                    bottom_right=models.GeoPoint(lat=bottom, lon=right),
                ),
            )
