"""`POST …/facets`: how many documents there are, and how many of each value, under filters."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from lookalike_serving.gateway.bodies import read_json
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.openapi import json_body, problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.wanted import LONGEST_SECONDS, RequestTimeout, while_wanted
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.search.facet_request import FacetsRequest, FacetsResponse
from lookalike_serving.search.facets import count_facets, plan_facets
from lookalike_serving.search.plan import fields_of, unindexed_warnings
from lookalike_serving.search.timing import Stopwatch
from lookalike_serving.service import CollectionState

router = APIRouter()

_RESPONSES = {200: {"model": FacetsResponse}, **problems(404, 415, 422, 503, 504)}


@router.post(
    "/v1/retrievers/{retriever}/facets",
    tags=["search"],
    summary="Count the documents of all collections of a Retriever by value",
    response_model=None,
    responses=_RESPONSES,
    openapi_extra=json_body(FacetsRequest),
)
async def retriever_facets(
    retriever: str, request: Request, timeout: RequestTimeout = LONGEST_SECONDS
) -> Response:
    service = service_of(request)
    named = service.retriever(retriever).collections
    states = [service.collection(each.name) for each in named]
    return await _counted(request, states, timeout)


@router.post(
    "/v1/collections/{collection}/facets",
    tags=["collections"],
    summary="Count the documents of a collection by value",
    response_model=None,
    responses=_RESPONSES,
    openapi_extra=json_body(FacetsRequest),
)
async def collection_facets(
    collection: str, request: Request, timeout: RequestTimeout = LONGEST_SECONDS
) -> Response:
    return await _counted(request, [service_of(request).collection(collection)], timeout)


async def _counted(request: Request, states: Sequence[CollectionState], timeout: float) -> Response:
    clock = Stopwatch()
    asked = await read_json(request, FacetsRequest)
    filter = parse_filters(asked.filters, fields_of(states))
    counting = count_facets(states, filter, plan_facets(states, asked.fields))
    counted = await while_wanted(request, timeout, counting)
    answer = {
        "total": counted.total,
        "facets": counted.facets,
        "took_ms": round(clock.total() * 1000, 3),
        "warnings": [*unindexed_warnings(filter, states), *counted.warnings],
    }
    return json_response(request, answer)
