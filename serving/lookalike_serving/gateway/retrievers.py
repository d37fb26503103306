"""`/v1/retrievers`: the search endpoints and their defaults."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from lookalike_crds.config import RetrieverConfig
from lookalike_serving.gateway.calibrations import CalibrationView, calibration_of, scores_of
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.listing import CURSOR, LIMIT, page_by_name
from lookalike_serving.gateway.openapi import problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import RetrieverName
from lookalike_serving.service import Service

router = APIRouter(tags=["retrievers"])


class SearchedCollection(BaseModel):
    name: str
    weight: float


class SearchDefaults(BaseModel):
    top_k: int
    min_score: float | Literal["auto"] | None
    fusion: str = Field(description="Weighted or RRF.")
    stages: list[dict[str, Any]] = Field(description="Re-ranking stages, in order.")


class Retriever(BaseModel):
    """One search endpoint."""

    name: str
    collections: list[SearchedCollection]
    search: SearchDefaults
    scores: str | None = Field(
        description="A digest of all that the scale of the scores follows from: models, "
        "collections, weights, fusion, stages. null while a collection is not open."
    )
    calibration: CalibrationView | None = Field(
        description="What `min_score: auto` stands for. null if nothing has been calibrated, or "
        "while it cannot be read."
    )


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
    service = service_of(request)
    items = {name: await _told(service, each) for name, each in service.retrievers.items()}
    return json_response(request, page_by_name(items, limit, cursor))


@router.get(
    "/v1/retrievers/{retriever}",
    summary="One retriever",
    response_model=None,
    responses={200: {"model": Retriever}, **problems(404)},
)
async def get_retriever(retriever: RetrieverName, request: Request) -> Response:
    service = service_of(request)
    return json_response(request, await _told(service, service.retriever(retriever)))


async def _told(service: Service, retriever: RetrieverConfig) -> dict[str, Any]:
    return {
        "name": retriever.name,
        "collections": [each.model_dump(mode="json") for each in retriever.collections],
        "search": retriever.search.model_dump(mode="json"),
        "scores": scores_of(service, retriever),
        "calibration": await calibration_of(service, retriever),
    }
