"""The HTTP API as an ASGI app: `create_api(start)` puts routers, errors and middleware together.

The app starts its service when the server starts it (ASGI lifespan) and closes the service when the
server ends, so the same app runs under Ray Serve, under uvicorn and in a test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from lookalike_serving import web
from lookalike_serving.batches import schemas
from lookalike_serving.gateway import (
    batches,
    books,
    calibrations,
    collections,
    dismissals,
    documents,
    duplicate_scan_bodies,
    duplicate_scans,
    duplicates,
    errors,
    events,
    facets,
    health,
    models,
    openapi,
    retrievers,
    search,
    search_batch,
)
from lookalike_serving.gateway.auth import ApiKeys, Authentication
from lookalike_serving.gateway.browsers import SafeInBrowsers
from lookalike_serving.gateway.description import add_description
from lookalike_serving.gateway.internal import internal_router
from lookalike_serving.gateway.limits import Limits
from lookalike_serving.gateway.metrics import Metrics
from lookalike_serving.gateway.middleware import EscapedDocumentIds, Observation
from lookalike_serving.gateway.origins import OwnPagesOnly
from lookalike_serving.gateway.reports import reports_router
from lookalike_serving.gateway.traffic import Traffic
from lookalike_serving.gateway.wanted import Finishing
from lookalike_serving.search.facet_request import FacetsRequest
from lookalike_serving.search.request import SearchRequest
from lookalike_serving.service import Service

BODIES = (
    SearchRequest,
    search_batch.SearchBatch,
    FacetsRequest,
    documents.UploadRequest,
    documents.UploadForm,
    documents.PatchRequest,
    calibrations.CalibrationRequest,
    dismissals.DismissalRequest,
    duplicate_scan_bodies.DecisionsRequest,
    duplicates.DuplicatesRequest,
    duplicates.DuplicatesForm,
    schemas.SubmittedBatch,
    schemas.SubmittedItem,
    duplicate_scan_bodies.ScanRequest,
    duplicate_scan_bodies.ApplyRequest,
)
"""Bodies that routes read themselves."""

_ABOUT = """
Find similar images by image, text, vector or stored document.

Errors are `application/problem+json` (RFC 9457); `errors` names each wrong part of a request and
what to write instead. Every answer has an `X-Request-ID`, which the server's log repeats.
"""


def create_api(start: Callable[[], Awaitable[Service]], *, echo_request_id: bool = True) -> FastAPI:
    """The app around a service that `start` creates.

    `echo_request_id=False` if a proxy in the same process adds the header itself.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = await start()
        try:
            app.state.service = service
            service.closing.requests_over = app.state.traffic.requests_over
            path = service.config.access.api_keys_file
            app.state.keys = None if path is None else ApiKeys(path)
            app.state.metrics.watch(service.models)
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="Lookalike",
        version=version("lookalike"),
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.traffic = Traffic()
    app.state.metrics = Metrics(app.state.traffic)
    for resource in (
        search,
        search_batch,
        facets,
        documents,
        dismissals,
        duplicates,
        books,
        events,
        collections,
        retrievers,
        calibrations,
        models,
        health,
        batches,
        duplicate_scans,
    ):
        app.include_router(resource.router)
    app.include_router(internal_router(app))
    app.include_router(reports_router(app))
    app.include_router(web.router)
    add_description(app)
    errors.install(app)
    openapi.describe(app, BODIES)
    # The last added is the outermost.
    app.add_middleware(EscapedDocumentIds)
    app.add_middleware(Limits)
    app.add_middleware(Authentication)
    app.add_middleware(OwnPagesOnly)
    app.add_middleware(SafeInBrowsers)
    app.add_middleware(Finishing)
    app.add_middleware(Observation, echo_request_id=echo_request_id)
    return app
