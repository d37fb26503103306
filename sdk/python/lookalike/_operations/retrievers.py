"""Retrievers: search, and what there is to search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lookalike._exchange import Answer, Call, Operation, Request, call
from lookalike._images import wire_value
from lookalike._operations import paths
from lookalike._operations.pages import Pages
from lookalike.types import Filters, Query, Retriever, SearchResults


def search(
    retriever_id: str,
    queries: Iterable[Query | Mapping[str, Any]],
    *,
    filters: Filters | None = None,
    top_k: int | None = None,
    min_score: float | None = None,
    rerank: Sequence[Mapping[str, Any]] | None = None,
    group_by: str | None = None,
    include: Sequence[str] | None = None,
    explain: bool = False,
) -> Operation[SearchResults]:
    """Search a retriever's collections by images, texts, vectors or stored documents.

    queries: `[{"type": "image", "value": "photo.jpg"}, {"type": "text", "value": "in blue",
        "weight": 0.5}]`. An image's value is a URL, a path, encoded bytes, an open binary file
        or a PIL image.
    filters: `{"AND": [{"key": "status", "operator": "eq", "value": "active"}]}` or
        `{"status": "active", "price": {"lt": 20}}`.
    top_k: how many results, 1 to 1000; the retriever's default where left out.
    min_score: leaves out what scores less.
    rerank: stages in order, in place of the retriever's: `[{"type": "Diversity"}]`; `[]` for none.
    group_by: keep the best document of each value of this metadata key.
    include: what each result tells besides id and score: `metadata`, `metadata.KEY`, `image_url`,
        `thumbnail_url`, `vector`, `distance`, `collection`.
    explain: tell of each result how its score came about (`result.explanation`).

    Raises NotFound for an unknown retriever, InvalidRequest with every wrong part.
    """
    body: dict[str, Any] = {"queries": [_query(each) for each in queries]}
    optional = {
        "filters": filters,
        "top_k": top_k,
        "min_score": min_score,
        "rerank": rerank,
        "group_by": group_by,
        "include": list(include) if include is not None else None,
        "explain": explain or None,
    }
    body.update({name: value for name, value in optional.items() if value is not None})
    request = Request("POST", f"{paths.retriever(retriever_id)}/search", json=body)
    return (yield from call(Call(request, _results)))


def get(retriever_id: str) -> Operation[Retriever]:
    """One retriever. Raises NotFound."""
    request = Request("GET", paths.retriever(retriever_id))
    return (yield from call(Call(request, lambda answer: _retriever(answer.json(), answer))))


def listing() -> Pages[Retriever]:
    """Every retriever of the server."""
    return Pages("/v1/retrievers", {}, _retriever)


def _query(query: Query | Mapping[str, Any]) -> dict[str, Any]:
    written: dict[str, Any] = dict(query)
    if written.get("type") == "image" and "value" in written:
        written["value"] = wire_value(written["value"])
    elif written.get("type") == "vector" and hasattr(written.get("value"), "tolist"):
        written["value"] = written["value"].tolist()
    return written


def _results(answer: Answer) -> SearchResults:
    document = answer.json()
    for result in document["results"]:
        for name in ("image_url", "thumbnail_url"):
            if name in result:
                result[name] = answer.absolute(result[name])
        if result.get("metadata") is None:
            result["metadata"] = {}
    return SearchResults.model_validate(document)


def _retriever(item: Any, answer: Answer) -> Retriever:
    return Retriever.model_validate(item)
