"""`POST /v1/retrievers/{retriever}/search/batch`: many searches in one request.

A body that is not as described is refused as a whole. A search that cannot be answered, such as
one for a document that is gone, has its problem in its place, and the others their answers.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from lookalike_crds.config import RetrieverConfig
from lookalike_serving.gateway.bodies import read_json
from lookalike_serving.gateway.context import metrics_of, request_id_of, service_of
from lookalike_serving.gateway.errors import problem_of
from lookalike_serving.gateway.openapi import ProblemDocument, json_body, problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import RetrieverName
from lookalike_serving.gateway.wanted import LONGEST_SECONDS, RequestTimeout, while_wanted
from lookalike_serving.search.pipeline import search
from lookalike_serving.search.request import SearchRequest, SearchResponse
from lookalike_serving.search.strict import Strict
from lookalike_serving.search.timing import Stopwatch
from lookalike_serving.together import together

router = APIRouter(tags=["search"])

MAX_SEARCHES = 256
_AT_ONCE = 32
"""Searches of one request: as many as the index and the model take in one call."""


class SearchBatch(Strict):
    """Several searches of one retriever."""

    searches: list[SearchRequest] = Field(min_length=1, max_length=MAX_SEARCHES)


class FailedSearch(BaseModel):
    problem: ProblemDocument


class SearchBatchResponse(BaseModel):
    answers: list[SearchResponse | FailedSearch] = Field(
        description="One for each search, in order."
    )
    took_ms: float


@router.post(
    "/v1/retrievers/{retriever}/search/batch",
    summary="Several searches in one request",
    response_model=None,
    responses={200: {"model": SearchBatchResponse}, **problems(400, 404, 413, 415, 422, 504)},
    openapi_extra=json_body(SearchBatch),
)
async def search_batch(
    retriever: RetrieverName, request: Request, timeout: RequestTimeout = LONGEST_SECONDS
) -> Response:
    clock = Stopwatch()
    config = service_of(request).retriever(retriever)
    asked = (await read_json(request, SearchBatch)).searches
    answers = await while_wanted(request, timeout, _answers(request, config, asked))
    took = round(clock.total() * 1000, 3)
    return json_response(request, {"answers": answers, "took_ms": took})


async def _answers(
    request: Request, config: RetrieverConfig, asked: list[SearchRequest]
) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        answers += await together([_answer(request, config, each) for each in part])
    return answers


async def _answer(
    request: Request, config: RetrieverConfig, asked: SearchRequest
) -> dict[str, Any]:
    clock = Stopwatch()
    try:
        answer = await search(service_of(request), config, asked, {}, clock)
    except Exception as failure:
        problem = problem_of(failure, request)
        metrics_of(request).errors.labels(problem.code).inc()
        return {"problem": problem.as_json(request_id_of(request.scope))}
    metrics_of(request).observe_stages(clock.seconds)
    return answer
