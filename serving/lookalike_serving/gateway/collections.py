"""`/v1/collections`: what is searched, and whether it is open."""

from __future__ import annotations

import contextlib
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from lookalike_crds.config import CollectionConfig
from lookalike_serving.copies.calibration import known_chance, target_of
from lookalike_serving.copies.calibration import status_of as similarity_status
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.ingestion import Ingestion, under_way
from lookalike_serving.gateway.listing import CURSOR, LIMIT, page_by_name
from lookalike_serving.gateway.openapi import problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import CollectionName
from lookalike_serving.gateway.statuses import (
    DuplicateScanShown,
    SearchSettingsShown,
    SimilarityShown,
)
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.index.unfit import retyped_warnings
from lookalike_serving.problems import Problem
from lookalike_serving.scans.record import status_of
from lookalike_serving.together import together

router = APIRouter(tags=["collections"])


class CollectionField(BaseModel):
    name: str
    type: str


class Collection(BaseModel):
    """One collection of this service."""

    name: str
    state: str = Field(description="Ready or Unavailable.")
    reason: str | None = Field(default=None, description="The reason, if it is unavailable.")
    documents: int | None = None
    indexed_vectors: int | None = None
    index_status: str | None = Field(
        default=None, description="green, yellow (being optimised) or grey (waits to be optimised)."
    )
    engine: str
    distance: str
    dimension: int | None = None
    model: str = Field(description="Name of the model, as in /v1/models.")
    model_ability: str | None = Field(
        default=None, description="What the model can and cannot do, in a short phrase."
    )
    supports_text: bool | None = Field(
        default=None, description="Whether the collection can be searched by text."
    )
    fields: list[CollectionField]
    warnings: list[str] = Field(
        default=[],
        description="Reports that the index has lost its documents, until there are documents "
        "again, that the type of a field was changed after documents were stored, until these are "
        "written again, that searches find fewer of the nearest neighbours than asked for, or that "
        "a changed model cannot answer, and why.",
    )
    ingestion: Ingestion | None = Field(
        default=None, description="Progress of an ingestion that runs on this machine."
    )
    search_settings: SearchSettingsShown | None = Field(
        default=None,
        description="The search settings that were found by measurement after the index was built.",
    )
    last_duplicate_scan: DuplicateScanShown | None = Field(
        default=None, description="The last duplicate scan that ended."
    )
    similarity: SimilarityShown | None = Field(
        default=None,
        description="From which score pictures are called similar, as it was measured last.",
    )


class CollectionList(BaseModel):
    items: list[Collection]
    next_cursor: str | None


@router.get(
    "/v1/collections",
    summary="List the collections",
    response_model=None,
    responses={200: {"model": CollectionList}, **problems(422)},
)
async def list_collections(
    request: Request, limit: int = LIMIT, cursor: str | None = CURSOR
) -> Response:
    service = service_of(request)
    configs = service.config.collections
    told = await together([_told(request, config) for config in configs]) if configs else []
    items = {each["name"]: each for each in told}
    return json_response(request, page_by_name(items, limit, cursor))


@router.get(
    "/v1/collections/{collection}",
    summary="One collection",
    response_model=None,
    responses={200: {"model": Collection}, **problems(404)},
)
async def get_collection(collection: CollectionName, request: Request) -> Response:
    service = service_of(request)
    for config in service.config.collections:
        if config.name == collection:
            return json_response(request, await _told(request, config))
    service.collection(collection)
    raise AssertionError(collection)


async def _told(request: Request, config: CollectionConfig) -> dict[str, Any]:
    service = service_of(request)
    if (open_now := service.collections.get(config.name)) is not None:
        config = open_now.config  # answers until what is configured is open
    told: dict[str, Any] = {
        "name": config.name,
        "engine": config.index.engine.value,
        "distance": config.vector.distance.value,
        "model": config.model.name or config.model.provider.value,
        "fields": [{"name": field.name, "type": field.type.value} for field in config.fields],
    }
    run = await service.in_thread(under_way, service.config, config.name)
    if run is not None:
        told["ingestion"] = run.model_dump()
    if (scan := request.app.state.scans.ended.get(config.name)) is not None:
        told["last_duplicate_scan"] = status_of(scan).model_dump(exclude_none=True)
    state = service.collections.get(config.name)
    if state is None:
        failure = service.failures.get(config.name)
        return told | {"state": "Unavailable", "reason": failure and failure.reason}
    try:
        info = await state.index.info()
        warnings = await retyped_warnings(state.index, info, config.fields)
        if (why := service.not_switched.get(config.name)) is not None:
            warnings.append(f"the former model keeps answering: {why}")
        if not info.points and config.name in service.lost:
            warnings.append(service.lost[config.name])
    except IndexFailure as failure:
        return told | {"state": "Unavailable", "reason": str(failure)}
    if (spec := config.duplicates) is not None:
        with contextlib.suppress(Problem, IndexFailure):
            chance = await known_chance(service, state)
            if chance is not None:
                told["similarity"] = similarity_status(chance, target_of(spec)).model_dump()
    if info.tuning is not None:
        settings = info.tuning.status()
        told["search_settings"] = settings.model_dump()
        if not info.tuning.reached:
            warnings.append(settings.in_words)
    return told | {
        "state": "Ready",
        "documents": info.points,
        "indexed_vectors": info.indexed_vectors,
        "index_status": info.status,
        "dimension": info.dimension,
        "model": state.embedder.info.name,
        "model_ability": state.embedder.info.ability,
        "supports_text": state.embedder.info.supports_text,
        "warnings": warnings,
    }
