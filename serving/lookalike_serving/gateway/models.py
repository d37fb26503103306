"""`/v1/models`: the embedding models that this process has loaded."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.listing import CURSOR, LIMIT, page_by_name
from lookalike_serving.gateway.openapi import problems
from lookalike_serving.gateway.responses import json_response

router = APIRouter(tags=["models"])


class Way(BaseModel):
    """A way to compute a tower of a model."""

    engine: str = Field(description="torch, torch.compile, onnxruntime or openvino.")
    precision: str


class Trial(BaseModel):
    """What was measured of one way."""

    way: Way
    image_ms: list[float] = Field(
        description="Milliseconds for each image in batches of 1 and of 8; on a CPU, processor "
        "time of one thread."
    )
    text_ms: list[float] = Field(description="The same for each text.")
    image_cosine: float | None = Field(
        description="The least cosine to the vectors in FP32, over sample images."
    )
    text_cosine: float | None
    left_out: str | None = Field(description="Why it was not measured, or not completely.")


class Execution(BaseModel):
    """How a model computes."""

    image: Way
    text: Way | None
    chosen_by: str = Field(
        description="Spec: spec.model.precision names it. Estimate: a few calls at the start. "
        "Measurement: every way was measured on this kind of machine."
    )
    trials: list[Trial]


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
    precision: str = Field(description="The number format of the image tower.")
    execution: Execution | None = Field(
        description="How it computes; null if the provider gives no choice."
    )
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
            "execution": asdict(info.execution) if info.execution is not None else None,
            "pooling": info.pooling,
            "supports_text": info.supports_text,
            "ability": info.ability,
            "collections": sorted(
                state.name
                for state in service.collections.values()
                if any(model is embedder for model in state.models)
            ),
        }
    return json_response(request, page_by_name(items, limit, cursor))
