"""Ranked candidates -> the answer, as JSON-ready data of the shape `SearchResponse` documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lookalike_serving.documents.layout import metadata_of
from lookalike_serving.documents.links import image_path, thumbnail_path
from lookalike_serving.search.candidates import Candidate
from lookalike_serving.search.combine import CombinedQuery, similarities
from lookalike_serving.search.facets import Counted
from lookalike_serving.search.plan import Include, SearchPlan
from lookalike_serving.search.timing import Stopwatch

_DIGITS = 7
"""What a float32 score can tell."""


def respond(
    candidates: Sequence[Candidate],
    plan: SearchPlan,
    queries: Mapping[str, CombinedQuery],
    clock: Stopwatch,
    warnings: Sequence[str],
    public_url: str | None,
    counted: Counted | None = None,
    *,
    min_score: float | None = None,
) -> dict[str, Any]:
    """The whole answer. Image addresses are absolute where the service knows its public URL."""
    base = (public_url or "").rstrip("/")
    with clock.stage("respond"):
        results = [_result(c, plan, queries[c.collection], base) for c in candidates]
    answer = timed(results, clock, warnings)
    if min_score is not None:
        answer["min_score"] = min_score
    if counted is not None:
        answer |= {"total": counted.total, "facets": counted.facets}
    return answer


def timed(
    results: list[dict[str, Any]], clock: Stopwatch, warnings: Sequence[str]
) -> dict[str, Any]:
    """Results with how long they took."""
    return {
        "results": results,
        "took_ms": round(clock.total() * 1000, 3),
        "stages": [
            {"name": name, "ms": round(seconds * 1000, 3)}
            for name, seconds in clock.seconds.items()
        ],
        "warnings": list(warnings),
    }


def described(
    collection: str, document_id: str, payload: dict[str, Any], include: Include, base: str
) -> dict[str, Any]:
    """What a result says about its document."""
    told: dict[str, Any] = {}
    if include.collection:
        told["collection"] = collection
    if include.all_metadata:
        told["metadata"] = metadata_of(payload)
    elif include.metadata_keys:
        told["metadata"] = _picked(payload, include.metadata_keys)
    if include.image_url:
        told["image_url"] = base + image_path(collection, document_id)
    if include.thumbnail_url:
        told["thumbnail_url"] = base + thumbnail_path(collection, document_id)
    return told


def _picked(payload: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """These keys alone; `camera.make` within its object."""
    picked: dict[str, Any] = {}
    for key in keys:
        *outer, last = key.split(".")
        there: Any = payload
        for name in outer:
            there = there.get(name) if isinstance(there, dict) else None
        if not isinstance(there, dict) or last not in there:
            continue
        inner = picked
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[last] = there[last]
    return picked


def _result(
    candidate: Candidate, plan: SearchPlan, query: CombinedQuery, base: str
) -> dict[str, Any]:
    include = plan.include
    hit = candidate.hit
    result: dict[str, Any] = {
        "document_id": candidate.document_id,
        "score": round(candidate.score, _DIGITS),
    }
    if include.distance and hit.distance is not None:
        result["distance"] = round(hit.distance, _DIGITS)
    result |= described(candidate.collection, candidate.document_id, hit.payload, include, base)
    if include.vector and hit.vector is not None:
        result["vector"] = hit.vector.tolist()
    if plan.request.explain:
        result["explanation"] = _explanation(candidate, query)
    return result


def _explanation(candidate: Candidate, query: CombinedQuery) -> dict[str, Any]:
    vector = candidate.hit.vector
    alone = [] if vector is None else similarities(query, vector)
    return {
        "contributions": [
            {
                "query": part.position,
                "type": part.type.value,
                "weight": part.weight,
                "similarity": round(similarity, _DIGITS),
                "contribution": round(part.weight * query.scale * similarity, _DIGITS),
            }
            for part, similarity in zip(query.parts, alone, strict=False)
        ],
        "steps": [
            {"stage": step.stage, "score": round(step.score, _DIGITS), "rank": step.rank}
            for step in candidate.steps
        ],
    }
