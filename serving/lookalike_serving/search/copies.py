"""A search with `mode: copies`: the documents of a retriever that are one picture, or copies of it.

    the picture -> find_copies in each collection -> strongest first -> respond

Verdicts are those of `/v1/collections/{collection}/duplicates`, at the sensitivity of each
collection. What ranks pictures that look alike has no meaning here, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lookalike_crds.config import RetrieverConfig
from lookalike_crds.min_score import AUTO
from lookalike_serving.copies.find import MAX_TOP_K, FoundCopies, Match, find_copies
from lookalike_serving.copies.upload import sensitivity_of
from lookalike_serving.documents.layout import RESERVED, payload
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.problems import wrong
from lookalike_serving.search.embedding import query_bytes
from lookalike_serving.search.plan import Include, fields_of, unindexed_warnings
from lookalike_serving.search.request import QueryType, SearchRequest
from lookalike_serving.search.respond import described, timed
from lookalike_serving.search.timing import Stopwatch
from lookalike_serving.service import Service
from lookalike_serving.together import together

_REFUSED = ("rerank", "group_by", "facets", "exact", "explain")


async def search_copies(
    service: Service,
    retriever: RetrieverConfig,
    request: SearchRequest,
    parts: Mapping[str, bytes],
    clock: Stopwatch,
) -> dict[str, Any]:
    """The answer as JSON-ready data (shape: SearchResponse). `parts` holds multipart files.

    Raises Problem (wrong request, closed collection, no OpenCV), ImageError, ModelError and
    IndexFailure.
    """
    least = _checked(request)
    states = [service.collection(each.name) for each in retriever.collections]
    tree = parse_filters(request.filters, fields_of(states))
    wanted = request.top_k or retriever.search.top_k
    top_k = min(wanted, MAX_TOP_K)
    include = Include.of(request.include)
    (query,) = request.queries
    data = await query_bytes(service, str(query.value), parts, "queries[0].value")
    with clock.stage("copies"):
        found: list[FoundCopies] = await together(
            [
                find_copies(
                    service,
                    state.name,
                    data,
                    sensitivity=sensitivity_of(state.config.duplicates),
                    top_k=top_k,
                    similar=False,
                    filter=tree,
                )
                for state in states
            ]
        )
    told = [
        (state.name, match)
        for state, each in zip(states, found, strict=True)
        for match in each.matches
        if least is None or match.comparison.confidence >= least
    ]
    told.sort(key=lambda each: each[1].comparison.order, reverse=True)
    base = (service.config.http.public_url or "").rstrip("/")
    results = [_result(collection, match, include, base) for collection, match in told[:top_k]]
    warnings = [
        *unindexed_warnings(tree, states),
        *(warning for each in found for warning in each.warnings),
    ]
    if wanted > top_k:
        warnings.append(f"top_k is {wanted}, and mode copies returns {MAX_TOP_K} results at most")
    return timed(results, clock, list(dict.fromkeys(warnings)))


def _checked(request: SearchRequest) -> float | None:
    """The lowest confidence that is wanted. Raises Problem 422."""
    for name in _REFUSED:
        if getattr(request, name) not in (None, False):
            raise wrong(name, "has no meaning with mode copies: leave it out, or use mode similar")
    if len(request.queries) != 1 or request.queries[0].type is not QueryType.IMAGE:
        raise wrong("queries", "mode copies takes one query, of type image")
    if request.include is not None and "vector" in request.include:
        raise wrong("include", "vector is not available with mode copies: leave it out")
    if request.min_score == AUTO:
        raise wrong("min_score", "is a number with mode copies: the score is the confidence")
    return request.min_score


def _result(collection: str, match: Match, include: Include, base: str) -> dict[str, Any]:
    document, comparison = match.document, match.comparison
    stored = {
        key: value
        for key, value in payload(document.metadata, document.origin).items()
        if key != RESERVED
    }
    return {
        "document_id": document.origin.document_id,
        "score": round(comparison.confidence, 4),
        "verdict": comparison.verdict,
        **described(collection, document.origin.document_id, stored, include, base),
        "evidence": comparison.evidence.as_json(),
    }
