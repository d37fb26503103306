"""Retrievers: search, and what there is to search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from lookalike._arguments import mapping, plain
from lookalike._exchange import Answer, Call, Operation, Request, api_error, call
from lookalike._operations import paths
from lookalike._operations.facets import Fields, wire_fields
from lookalike._operations.pages import Pages
from lookalike._queries import wire_queries
from lookalike.errors import APIError
from lookalike.types import (
    CalibratedThreshold,
    Calibration,
    Filters,
    Queries,
    Retriever,
    SearchResults,
)

_FILTERS = '{"status": "active"}'


def search(
    retriever_id: str,
    queries: Queries,
    *,
    mode: Literal["similar", "copies"] | None = None,
    filters: Filters | None = None,
    top_k: int | None = None,
    min_score: float | Literal["auto"] | None = None,
    rerank: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    group_by: str | None = None,
    include: str | Sequence[str] | None = None,
    facets: Fields | None = None,
    exact: bool = False,
    explain: bool = False,
) -> Operation[SearchResults]:
    """Search a retriever's collections by images, texts, vectors or stored documents.

    queries: `"red cup"`; `Path("photo.jpg")` or any other `ImageValue`; a vector as a list or
        array; a list of these; or written out, with weights: `[{"type": "image", "value":
        "photo.jpg"}, {"type": "text", "value": "in blue", "weight": 0.5}]`. A text is words, unless
        it is an address or ends as image files do (".jpg").
    mode: `"copies"` returns only documents that are the picture of the one image query, or copies
        of it, with `verdict` and `evidence`; the score is the confidence.
    filters: `{"AND": [{"key": "status", "operator": "eq", "value": "active"}]}` or
        `{"status": "active", "price": {"lt": 20}}`.
    top_k: number of results, 1 to 1000. Default: that of the retriever.
    min_score: omits results with a lower score; `"auto"`: than the calibrated threshold for this
        kind of query. `results.min_score` is what was used.
    rerank: stages that replace those of the retriever, in order:
        `[{"type": "Diversity"}]`; `[]` for none.
    group_by: keep the best document of each value of this metadata key.
    include: what each result contains in addition to id and score: `metadata`,
        `metadata.KEY`, `image_url`, `thumbnail_url`, `vector`, `distance`, `collection`.
    facets: also count all documents that match the filters, not only the results, by these
        fields (`results.facets`), and in all (`results.total`): see `facets`.
    exact: compare with every vector instead of using the approximate index: slow, to measure
        what the index misses.
    explain: tell of each result how its score came about (`result.explanation`).

    Raises NotFound for an unknown retriever, InvalidRequest with every wrong part.
    """
    body = _body(
        queries,
        mode=mode,
        filters=filters,
        top_k=top_k,
        min_score=min_score,
        rerank=rerank,
        group_by=group_by,
        include=include,
        facets=facets,
        exact=exact,
        explain=explain,
    )
    request = Request("POST", f"{paths.retriever(retriever_id)}/search", json=plain(body, ""))
    return (yield from call(Call(request, _results)))


def search_batch(
    retriever_id: str, searches: Sequence[Mapping[str, Any]]
) -> Operation[tuple[SearchResults | APIError, ...]]:
    """Several searches in one request, at most 256.

    searches: of each what `search` takes, as a mapping: `{"queries": "red cup", "top_k": 5}`.

    Returns an answer for each search, in order: its results, or the error that `search` would have
    raised. Raises NotFound for an unknown retriever, InvalidRequest if a search is not written as
    it has to be.
    """
    body = {"searches": [_body(**each) for each in searches]}
    path = f"{paths.retriever(retriever_id)}/search/batch"
    request = Request("POST", path, json=plain(body, ""))
    return (yield from call(Call(request, _answers)))


def get(retriever_id: str) -> Operation[Retriever]:
    """One retriever. Raises NotFound."""
    request = Request("GET", paths.retriever(retriever_id))
    return (yield from call(Call(request, lambda answer: _retriever(answer.json(), answer))))


def listing() -> Pages[Retriever]:
    """Every retriever of the server."""
    return Pages("/v1/retrievers", {}, _retriever)


def calibration(retriever_id: str) -> Operation[Calibration]:
    """The thresholds that `min_score="auto"` stands for. Raises NotFound if there are none."""
    request = Request("GET", _calibration(retriever_id))
    return (yield from call(Call(request, _told)))


def save_calibration(
    retriever_id: str,
    thresholds: Mapping[str, CalibratedThreshold | Mapping[str, Any]],
    *,
    scores: str,
    basis: str,
) -> Operation[Calibration]:
    """Store thresholds that were measured, in place of earlier ones.

    thresholds: by kind of query: text, image (also documents and vectors), or both, which is text
        together with any of these.
    scores: `Retriever.scores` from before they were measured. basis: what was taken as relevant.

    Raises APIError with status 409 if the scores have changed since, by another model, weight or
    stage.
    """
    given = {
        kind: each if isinstance(each, Mapping) else each.model_dump()
        for kind, each in thresholds.items()
    }
    body = {"scores": scores, "basis": basis, "thresholds": plain(given, "thresholds")}
    request = Request("PUT", _calibration(retriever_id), json=body)
    return (yield from call(Call(request, _told)))


def delete_calibration(retriever_id: str) -> Operation[None]:
    """Forget the thresholds. Raises NotFound if there are none."""
    request = Request("DELETE", _calibration(retriever_id))
    return (yield from call(Call(request, lambda answer: None, done_already=404)))


def _calibration(retriever_id: str) -> str:
    return f"{paths.retriever(retriever_id)}/calibration"


def _told(answer: Answer) -> Calibration:
    return Calibration.model_validate(answer.json())


def _body(
    queries: Queries,
    *,
    mode: str | None = None,
    filters: Filters | None = None,
    top_k: int | None = None,
    min_score: float | str | None = None,
    rerank: Any = None,
    group_by: str | None = None,
    include: str | Sequence[str] | None = None,
    facets: Fields | None = None,
    exact: bool = False,
    explain: bool = False,
) -> dict[str, Any]:
    body: dict[str, Any] = {"queries": wire_queries(queries)}
    optional = {
        "mode": mode,
        "filters": None if filters is None else mapping(filters, "filters", _FILTERS),
        "top_k": top_k,
        "min_score": min_score,
        "rerank": None if rerank is None else _stages(rerank),
        "group_by": group_by,
        "include": [include] if isinstance(include, str) else include,
        "facets": None if facets is None else wire_fields(facets, "facets"),
        "exact": exact or None,
        "explain": explain or None,
    }
    body.update({name: value for name, value in optional.items() if value is not None})
    return body


def _stages(rerank: Any) -> list[Any]:
    if isinstance(rerank, str):
        raise TypeError(f'rerank: write a stage as a dict: {{"type": "{rerank}"}}')
    return [rerank] if isinstance(rerank, Mapping) else list(rerank)


def _answers(answer: Answer) -> tuple[SearchResults | APIError, ...]:
    return tuple(
        api_error(replace(answer, status=problem["status"], content=json.dumps(problem).encode()))
        if (problem := each.get("problem")) is not None
        else _found(each, answer)
        for each in answer.json()["answers"]
    )


def _results(answer: Answer) -> SearchResults:
    return _found(answer.json(), answer)


def _found(document: Any, answer: Answer) -> SearchResults:
    for result in document["results"]:
        for name in ("image_url", "thumbnail_url"):
            if name in result:
                result[name] = answer.absolute(result[name])
        if result.get("metadata") is None:
            result["metadata"] = {}
    return SearchResults.model_validate(document)


def _retriever(item: Any, answer: Answer) -> Retriever:
    return Retriever.model_validate(item)
