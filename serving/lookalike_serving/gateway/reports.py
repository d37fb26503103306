"""What the operator asks to know of a collection and of a Retriever, for their status."""

from __future__ import annotations

import logging

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from lookalike_crds.collection_report import CollectionReport
from lookalike_crds.retriever_report import RetrieverReport
from lookalike_serving.copies.calibration import chance_of, target_of
from lookalike_serving.copies.calibration import status_of as similarity_status
from lookalike_serving.index.bulk import not_authorised
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.problems import Problem
from lookalike_serving.scans.record import status_of as scan_status
from lookalike_serving.search.calibration import Calibrations, scale_of, status_of
from lookalike_serving.service import Service

log = logging.getLogger("lookalike.gateway")


def internal_token(service: Service) -> str | None:
    """Of other parts of Lookalike, read again each time: tokens rotate. None: there is none."""
    path = service.config.access.internal_token_file
    if path is None:
        return None
    try:
        return path.read_text("utf-8-sig").strip() or None
    except (OSError, UnicodeDecodeError) as failure:
        log.error("the internal token in %s cannot be read: %s", path, failure)
        return None


def reports_router(app: FastAPI) -> APIRouter:
    router = APIRouter(prefix="/internal/v1", include_in_schema=False)

    def refused(request: Request) -> Response | None:
        refusal = not_authorised(request, internal_token(app.state.service))
        return None if refusal is None else PlainTextResponse(refusal[1], refusal[0])

    @router.get("/collections/{name}/report")
    async def of_collection(name: str, request: Request) -> Response:
        """A CollectionReport, as far as this process knows."""
        if (refusal := refused(request)) is not None:
            return refusal
        if (state := app.state.service.collections.get(name)) is None:
            return PlainTextResponse(f"collection {name!r} is not open", 404)
        scan = app.state.scans.ended.get(name)
        tuning = (await state.index.info()).tuning
        similarity = None
        if (spec := state.config.duplicates) is not None:
            try:
                chance = await chance_of(app.state.service, state)
                similarity = similarity_status(chance, target_of(spec))
            except (Problem, IndexFailure) as failure:
                log.warning("the similarity of collection %s is not known: %s", name, failure)
        return _told(
            CollectionReport(
                index=state.config.index.name,
                not_switched=app.state.service.not_switched.get(name),
                last_duplicate_scan=None if scan is None else scan_status(scan),
                similarity=similarity,
                search_settings=None if tuning is None else tuning.status(),
            )
        )

    @router.get("/retrievers/{name}/report")
    async def of_retriever(name: str, request: Request) -> Response:
        """A RetrieverReport; 503 as long as it is not known."""
        if (refusal := refused(request)) is not None:
            return refusal
        service: Service = app.state.service
        try:
            found = await Calibrations(service).read(name)
            scale = scale_of(service, service.retriever(name)) if found is not None else {}
        except (Problem, IndexFailure) as failure:
            return PlainTextResponse(str(failure), 503)
        told = None if found is None else status_of(found, scale)
        return _told(RetrieverReport(calibration=told))

    return router


def _told(report: BaseModel) -> Response:
    answer = report.model_dump_json(by_alias=True, exclude_none=True)
    return Response(answer, media_type="application/json")
