"""Facets: how many documents there are, and how many of each value, under filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from lookalike._arguments import mapping, plain, shown
from lookalike._exchange import Answer, Call, Operation, Request, call
from lookalike._operations import paths
from lookalike.types import FacetField, Facets, Filters

Field: TypeAlias = "str | FacetField | Mapping[str, Any]"
Fields: TypeAlias = "Field | Iterable[Field]"

_FILTERS = '{"status": "active"}'
_FIELD = '{"field": "price", "type": "histogram"}'


def of_retriever(
    retriever_id: str, fields: Fields = (), *, filters: Filters | None = None
) -> Operation[Facets]:
    """Count the documents of all of a retriever's collections, by value.

    fields: names of declared fields, or `{"field": "price", "type": "histogram", "buckets": 12}`;
        types are terms, range, histogram and date_histogram. Without any: the total alone.
    filters: as in a search. Each field leaves out its own choice, so that other values than the
        chosen ones keep their counts.

    Raises NotFound for an unknown retriever, InvalidRequest for a field that cannot be counted so.
    """
    return _facets(f"{paths.retriever(retriever_id)}/facets", fields, filters)


def of_collection(
    collection: str, fields: Fields = (), *, filters: Filters | None = None
) -> Operation[Facets]:
    """Count a collection's documents, by value.

    fields: names of declared fields, or `{"field": "price", "type": "histogram", "buckets": 12}`;
        types are terms, range, histogram and date_histogram. Without any: the total alone.
    filters: as in a search. Each field leaves out its own choice, so that other values than the
        chosen ones keep their counts.

    Raises NotFound for an unknown collection, InvalidRequest for a field that cannot be counted so.
    """
    return _facets(f"{paths.collection(collection)}/facets", fields, filters)


def _facets(path: str, fields: Fields, filters: Filters | None) -> Operation[Facets]:
    body: dict[str, Any] = {"fields": wire_fields(fields, "fields")}
    if filters is not None:
        body["filters"] = mapping(filters, "filters", _FILTERS)
    return (yield from call(Call(Request("POST", path, json=plain(body, "")), _told)))


def wire_fields(fields: Any, what: str) -> list[dict[str, Any]]:
    """The API's list; one field alone may be without one. Raises TypeError."""
    listed = [fields] if isinstance(fields, str | Mapping) else fields
    if not isinstance(listed, Iterable):
        raise TypeError(f"{what}: {shown(fields)} is no list of fields: write names, or {_FIELD}")
    return [
        {"field": each}
        if isinstance(each, str)
        else dict(mapping(each, f"{what}[{place}]", _FIELD))
        for place, each in enumerate(listed)
    ]


def _told(answer: Answer) -> Facets:
    return Facets.model_validate(answer.json())
