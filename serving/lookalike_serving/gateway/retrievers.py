"""`/v1/retrievers`: the search endpoints and their defaults."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from lookalike_crds.config import RetrieverConfig
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.listing import CURSOR, LIMIT, page_by_name
from lookalike_serving.gateway.openapi import problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import RetrieverName

router = APIRouter(tags=["retrievers"])


class SearchedCollection(BaseModel):
    name: str
    weight: float


class SearchDefaults(BaseModel):
    top_k: int
    min_score: float | None
    fusion: str = Field(description="Weighted or RRF.")
    stages: list[dict[str, Any]] = Field(description="Re-ranking stages, in order.")


class Retriever(BaseModel):
    """One search endpoint."""

    name: str
    collections: list[SearchedCollection]
    search: SearchDefaults


class RetrieverList(BaseModel):
    items: list[Retriever]
    next_cursor: str | None


@router.get(
    "/v1/retrievers",
    summary="List the retrievers",
    response_model=None,
    responses={200: {"model": RetrieverList}, **problems(422)},
)
async def list_retrievers(
    request: Request, limit: int = LIMIT, cursor: str | None = CURSOR
) -> Response:
    items = {name: _told(each) for name, each in service_of(request).retrievers.items()}
    return json_response(request, page_by_name(items, limit, cursor))


@router.get(
    "/v1/retrievers/{retriever}",
    summary="One retriever",
    response_model=None,
    responses={200: {"model": Retriever}, **problems(404)},
)
async def get_retriever(retriever: RetrieverName, request: Request) -> Response:
    return json_response(request, _told(service_of(request).retriever(retriever)))


def _told(retriever: RetrieverConfig) -> dict[str, Any]:
    return {
        "name": retriever.name,
        "collections": [each.model_dump(mode="json") for each in retriever.collections],
        "search": retriever.search.model_dump(mode="json"),
    }
