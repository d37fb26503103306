"""Routes for other parts of Lookalike: the bulk route of index/bulk.py, through which ingestion
writes the Edge indexes of this service, and what the operator asks to know of a collection.
"""

from __future__ import annotations

import logging

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from lookalike_crds.collection_report import CollectionReport
from lookalike_serving.books import BULK_NAME
from lookalike_serving.copies.upload import write_checked
from lookalike_serving.documents.replaced import releasing
from lookalike_serving.embed.batching import Overloaded
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.index.bulk import bulk_router, not_authorised
from lookalike_serving.index.protocol import (
    Decision,
    Index,
    IndexRefused,
    IndexUnavailable,
    Point,
)
from lookalike_serving.problems import Problem
from lookalike_serving.scans.record import status_of
from lookalike_serving.service import CollectionState, Service

log = logging.getLogger("lookalike.gateway")


def internal_router(app: FastAPI) -> APIRouter:
    """Finds index and token again for each request: collections open late, tokens rotate."""

    def index_of(name: str, index: str | None) -> Index | None:
        service: Service = app.state.service
        if index == BULK_NAME:
            return books_of(service, name)
        state = state_of(service, name, index)
        return None if state is None else releasing(state, service.images)

    def state_of(service: Service, name: str, index: str | None) -> CollectionState | None:
        state = service.filling.get(name)
        if state is None or state.config.index.name != index:
            if name in service.failures:
                raise IndexUnavailable(f"collection {name!r} is not open: {service.failures[name]}")
            state = service.collections.get(name)
        if state is None:
            return None
        if index not in (None, state.config.index.name):
            # A pod that ends has the index of the model before; its successor comes.
            raise IndexUnavailable(
                f"collection {name!r} is served with index {state.config.index.name}, not {index}"
            )
        return state

    async def decide(
        name: str, index: str | None, point: Point, image: bytes, reject: bool
    ) -> Decision:
        service: Service = app.state.service
        state = state_of(service, name, index)
        if state is None:
            raise IndexRefused(f"this server has no collection {name!r}")
        try:
            return await write_checked(service, state, point, image, reject=reject)
        except (ModelError, Overloaded, Problem) as failure:
            raise IndexUnavailable(str(failure)) from failure

    def books_of(service: Service, name: str) -> Index | None:
        if all(each.name != name for each in service.config.collections):
            return None
        if service.batches_failure is not None:
            raise IndexUnavailable(f"the records are not open: {service.batches_failure}")
        return service.batches_index

    def token() -> str | None:
        service: Service = app.state.service
        path = service.config.access.internal_token_file
        if path is None:
            return None
        try:
            return path.read_text("utf-8-sig").strip() or None
        except (OSError, UnicodeDecodeError) as failure:
            log.error("the internal token in %s cannot be read: %s", path, failure)
            return None

    async def image(address: str, holder: str) -> bytes:
        service: Service = app.state.service
        return await service.images.held(address, holder)

    router = bulk_router(index_of, token, image, decide)

    @router.get("/{name}/report")
    async def report(name: str, request: Request) -> Response:
        """A CollectionReport, as far as this process knows."""
        if (refusal := not_authorised(request, token())) is not None:
            return PlainTextResponse(refusal[1], refusal[0])
        if (state := app.state.service.collections.get(name)) is None:
            return PlainTextResponse(f"collection {name!r} is not open", 404)
        scan = app.state.scans.ended.get(name)
        tuning = (await state.index.info()).tuning
        told = CollectionReport(
            last_duplicate_scan=None if scan is None else status_of(scan),
            search_settings=None if tuning is None else tuning.status(),
        )
        answer = told.model_dump_json(by_alias=True, exclude_none=True)
        return Response(answer, media_type="application/json")

    return router
