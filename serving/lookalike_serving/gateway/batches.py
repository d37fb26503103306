"""`/v1/collections/{collection}/batches` and `/v1/batches`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from pydantic import BaseModel

from lookalike_serving.batches.opening import open_batches
from lookalike_serving.batches.operations import Batches
from lookalike_serving.batches.record import BatchState, ItemState, OnError
from lookalike_serving.batches.schemas import (
    BatchPage,
    BatchView,
    ItemPage,
    ItemView,
    SubmittedBatch,
    SubmittedItem,
)
from lookalike_serving.documents.upload import storage_warnings
from lookalike_serving.gateway.batch_bodies import parse_on_error, read
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.cursors import read_cursor, write_cursor
from lookalike_serving.gateway.openapi import FILE_PART, json_or_multipart, problems, reference
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import (
    BatchId,
    CollectionName,
    PointCursor,
    PositionCursor,
    form,
)
from lookalike_serving.problems import wrong

_MAX_KEY = 255
_ON_ERROR = (
    "continue (default), or stop at the first item that fails; a JSON body may contain it, too."
)


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Entered after the app's own lifespan has put its service in place."""
    batches = app.state.batches = open_batches(app.state.service)
    batches.start()
    try:
        yield
    finally:
        await batches.close()


router = APIRouter(tags=["batches"], lifespan=_running)

_FORM = form(
    {
        "image": {**FILE_PART, "description": "Any name; repeat it for each image."},
        "items": {
            "type": "array",
            "minItems": 1,
            "items": reference(SubmittedItem),
            "description": 'A JSON list (or NDJSON) that names the files: {"file": "a.jpg", '
            '"document_id"?, "metadata"?}. Without it, every file is an item '
            "without metadata.",
        },
    }
)
_BODIES = json_or_multipart(SubmittedBatch, _FORM)
_BODIES["requestBody"]["content"]["application/x-ndjson"] = {
    "schema": {"type": "string", "description": "One item per line."}
}


@router.post(
    "/v1/collections/{collection}/batches",
    status_code=202,
    summary="Send many images at once, which are stored in the background",
    response_model=None,
    responses={
        200: {
            "model": BatchView,
            "description": "The batch that was created with this Idempotency-Key before",
        },
        202: {"model": BatchView, "description": "Accepted: see Location"},
        **problems(400, 404, 413, 415, 422, 503, 507),
    },
    openapi_extra=_BODIES,
)
async def create_batch(
    collection: CollectionName,
    request: Request,
    on_error: str | None = Query(
        None, max_length=16, description=_ON_ERROR, json_schema_extra={"enum": [*OnError, None]}
    ),
) -> Response:
    service = service_of(request)
    config = service.collection(collection).config
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= _MAX_KEY:
        raise wrong("Idempotency-Key", f"has {len(key)} characters: 1 to {_MAX_KEY} are possible")
    limit = service.config.fetch.max_bytes
    batch, created = await _batches(request).submit(
        config, lambda stage: read(request, stage, limit), parse_on_error(on_error), key
    )
    location = {"Location": f"/v1/batches/{batch.order.id}"}
    told = BatchView.of(batch)
    told.warnings = storage_warnings(service)
    return _answer(request, told, 202 if created else 200, location)


@router.get(
    "/v1/batches",
    summary="List batches, the newest first",
    response_model=None,
    responses={200: {"model": BatchPage}, **problems(422, 503)},
)
async def list_batches(
    request: Request,
    collection: str | None = Query(None, max_length=63),
    state: BatchState | None = Query(None),
    cursor: PointCursor = None,
    limit: int = Query(50, ge=1, le=1000),
) -> Response:
    found, after = await _batches(request).page(collection, state, read_cursor(cursor), limit)
    page = BatchPage(items=[BatchView.of(b) for b in found], next_cursor=write_cursor(after))
    return _answer(request, page)


@router.get(
    "/v1/batches/{batch_id}",
    summary="Get the state of a batch",
    response_model=None,
    responses={200: {"model": BatchView}, **problems(404, 503)},
)
async def get_batch(batch_id: BatchId, request: Request) -> Response:
    return _answer(request, BatchView.of(await _batches(request).batch(batch_id)))


@router.get(
    "/v1/batches/{batch_id}/items",
    summary="List the items of a batch and their outcomes",
    response_model=None,
    responses={200: {"model": ItemPage}, **problems(404, 422, 503)},
)
async def list_items(
    batch_id: BatchId,
    request: Request,
    state: ItemState | None = Query(None, description="List only items with this state."),
    cursor: PositionCursor = None,
    limit: int = Query(100, ge=1, le=1000),
) -> Response:
    batches = _batches(request)
    batch = await batches.batch(batch_id)
    found, following = await batches.items(batch, state, _position(cursor), limit)
    page = ItemPage(
        items=[ItemView.of(item, batch) for item in found],
        next_cursor=None if following is None else str(following),
    )
    return _answer(request, page)


@router.post(
    "/v1/batches/{batch_id}/cancel",
    summary="Cancel a batch: what is stored stays, and the rest is not stored",
    response_model=None,
    responses={200: {"model": BatchView}, **problems(404, 409, 503)},
)
async def cancel_batch(batch_id: BatchId, request: Request) -> Response:
    return _answer(request, BatchView.of(await _batches(request).cancel(batch_id)))


@router.post(
    "/v1/batches/{batch_id}/retry",
    status_code=202,
    summary="Retry the failed items of a finished batch",
    response_model=None,
    responses={202: {"model": BatchView}, **problems(404, 409, 503)},
)
async def retry_batch(batch_id: BatchId, request: Request) -> Response:
    return _answer(request, BatchView.of(await _batches(request).retry(batch_id)), 202)


def _batches(request: Request) -> Batches:
    batches: Batches = request.app.state.batches
    return batches


def _position(cursor: str | None) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 9):
        raise wrong("cursor", "is not a next_cursor of this list: start again without it")
    return int(cursor)


def _answer(
    request: Request, view: BaseModel, status: int = 200, headers: dict[str, Any] | None = None
) -> Response:
    return json_response(request, view.model_dump(mode="json"), status, headers)
