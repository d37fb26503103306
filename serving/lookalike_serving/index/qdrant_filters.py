"""Filters as conditions of a Qdrant server (and of qdrant-client's local mode)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qdrant_client import models

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.payload_indexes import key_of
from lookalike_crds.qdrant_versions import SINCE, Version, lacking, written
from lookalike_serving.index.filters.compiled import compiled
from lookalike_serving.index.filters.conditions import Moments, Numbers
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import IndexRefused


class NeedsNewer(IndexRefused):
    """The server is too old for an operator."""


def compile_filter(
    filter: Filter | None, fields: Iterable[FieldSpec], version: Version | None = None
) -> models.Filter | None:
    """Qdrant's form of `filter`; None stays None. `version` is the server's, if it is known.

    Raises NeedsNewer.
    """
    if filter is None:
        return None
    return models.Filter(must=[compiled(filter, fields, _QdrantConditions(version))])


class _QdrantConditions:
    """`filters.conditions.Conditions` of a Qdrant server of this version."""

    def __init__(self, version: Version | None) -> None:
        self._version = version
        self._lacks = lacking(version)

    def all_of(self, of: Sequence[models.Condition]) -> models.Condition:
        return models.Filter(must=list(of))

    def any_of(self, of: Sequence[models.Condition]) -> models.Condition:
        return models.Filter(should=list(of))

    def none_of(self, of: Sequence[models.Condition]) -> models.Condition:
        return models.Filter(must_not=list(of))

    def within(self, path: str, inner: models.Condition) -> models.Condition:
        nested = models.Nested(key=path, filter=models.Filter(must=[inner]))
        return models.NestedCondition(nested=nested)

    def has_id(self, ids: Sequence[str]) -> models.Condition:
        return models.HasIdCondition(has_id=list(ids))

    def is_empty(self, path: str) -> models.Condition:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=path))

    def is_null(self, path: str) -> models.Condition:
        return models.IsNullCondition(is_null=models.PayloadField(key=path))

    def is_one_of(self, path: str, values: Sequence[str] | Sequence[int]) -> models.Condition:
        match values:
            case [value]:
                return models.FieldCondition(key=path, match=models.MatchValue(value=value))
            case _:
                return models.FieldCondition(key=path, match=models.MatchAny(any=list(values)))

    def is_bool(self, path: str, value: bool) -> models.Condition:
        return models.FieldCondition(key=path, match=models.MatchValue(value=value))

    def between(self, path: str, bounds: Numbers) -> models.Condition:
        return models.FieldCondition(key=path, range=models.Range(**bounds))

    def during(self, path: str, bounds: Moments) -> models.Condition:
        return models.FieldCondition(key=path, range=models.DatetimeRange(**bounds))

    def starts_with(self, path: str, prefix: str) -> models.Condition:
        self._needs("starts_with", "", path, "in with whole values")
        return models.FieldCondition(key=path, match=models.MatchPrefix(prefix=prefix))

    def contains(self, path: str, substring: str) -> models.Condition:
        self._needs("contains", " of a text", path, "text for whole words")
        return models.FieldCondition(key=path, match=models.MatchSubstring(substring=substring))

    def has_words(self, path: str, text: str) -> models.Condition:
        return models.FieldCondition(key=path, match=models.MatchText(text=text))

    def in_circle(self, path: str, lat: float, lon: float, radius_m: float) -> models.Condition:
        circle = models.GeoRadius(center=models.GeoPoint(lat=lat, lon=lon), radius=radius_m)
        return models.FieldCondition(key=path, geo_radius=circle)

    def in_box(
        self, path: str, top: float, left: float, bottom: float, right: float
    ) -> models.Condition:
        box = models.GeoBoundingBox(
            top_left=models.GeoPoint(lat=top, lon=left),
            bottom_right=models.GeoPoint(lat=bottom, lon=right),
        )
        return models.FieldCondition(key=path, geo_bounding_box=box)

    def _needs(self, operator: str, of_what: str, path: str, instead: str) -> None:
        if self._version is None or operator not in self._lacks:
            return
        raise NeedsNewer(
            f"filter on {key_of(path)!r}: {operator}{of_what} needs Qdrant "
            f"{written(SINCE[operator])}, the server has {written(self._version)}: upgrade it, or "
            f"use {instead}"
        )
