"""`/v1/models`: the embedding models that this process has loaded."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.listing import CURSOR, LIMIT, page_by_name
from lookalike_serving.gateway.openapi import problems
from lookalike_serving.gateway.responses import json_response

router = APIRouter(tags=["models"])


class Model(BaseModel):
    """One loaded embedding model."""

    name: str
    provider: str
    weights: str | None
    fingerprint: str = Field(
        description="Vectors of models with equal fingerprints can be compared."
    )
    dimension: int
    image_size: int = Field(description="Side of the square image that the model reads, in pixels.")
    device: str
    precision: str
    pooling: str | None = Field(
        description="How the parts of a picture are combined into one vector, if that is known."
    )
    supports_text: bool
    ability: str = Field(description="What the model can and cannot do, in a short phrase.")
    collections: list[str]


class ModelList(BaseModel):
    items: list[Model]
    next_cursor: str | None


@router.get(
    "/v1/models",
    summary="List the embedding models",
    response_model=None,
    responses={200: {"model": ModelList}, **problems(422)},
)
async def list_models(
    request: Request, limit: int = LIMIT, cursor: str | None = CURSOR
) -> Response:
    service = service_of(request)
    items = {}
    for embedder in service.models.values():
        info = embedder.info
        items[f"{info.name} {info.fingerprint}"] = {
            "name": info.name,
            "provider": info.provider,
            "weights": info.weights,
            "fingerprint": info.fingerprint,
            "dimension": info.dimension,
            "image_size": info.image_size,
            "device": info.device,
            "precision": info.precision,
            "pooling": info.pooling,
            "supports_text": info.supports_text,
            "ability": info.ability,
            "collections": sorted(
                state.name for state in service.collections.values() if state.embedder is embedder
            ),
        }
    return json_response(request, page_by_name(items, limit, cursor))
