"""`/healthz`: the process is alive. `/readyz`: it answers, part by part. `/metrics`."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from lookalike_crds.failures import DRAINING, INDEX_UNAVAILABLE, NOT_READY
from lookalike_serving.answering import CANARY_SECONDS, silent_parts
from lookalike_serving.gateway.auth import may_see_reasons
from lookalike_serving.gateway.context import metrics_of, request_id_of, service_of
from lookalike_serving.gateway.responses import json_response, problem_response
from lookalike_serving.index.protocol import IndexFailure, IndexInfo
from lookalike_serving.problems import Problem, Wrong
from lookalike_serving.service import Service

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Check that the process is alive", response_model=None)
async def healthz(request: Request) -> Response:
    return json_response(request, {"status": "alive"})


@router.get(
    "/readyz",
    summary="Check that every collection answers a test query",
    response_model=None,
    responses={
        503: {
            "description": "Some collections do not answer; `errors` names them with the "
            "reasons. The code `index-unavailable` means that each of them waits "
            "for an index that cannot be reached, and may answer later."
        }
    },
)
async def readyz(request: Request) -> Response:
    if request.app.state.traffic.draining:
        problem = Problem(DRAINING, "This server is shutting down.")
        return problem_response(problem, request_id_of(request.scope))
    service = service_of(request)
    parts = await silent_parts(service)
    failed = {part: failure for part, failure in parts.items() if failure is not None}
    if failed:
        open_to = may_see_reasons(request)
        errors = [Wrong(p, f.reason if open_to else "does not answer") for p, f in failed.items()]
        waits = all(failure.unreachable for failure in failed.values())
        answering = len(parts) - len(failed)
        problem = Problem(
            INDEX_UNAVAILABLE if waits else NOT_READY,
            f"{answering} of {len(parts)} parts answer; {errors[0].path}: {errors[0].message}",
            errors=errors,
        )
        return problem_response(problem, request_id_of(request.scope))
    told: dict[str, Any] = {"status": "ready", "parts": sorted(parts)}
    if (full := service.read_only) is not None:
        # Queries are answered: whoever balances over replicas is to go on sending them here.
        told |= {"read_only": True, "detail": f"read-only: {full}"}
    return json_response(request, told)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}},
)
async def metrics(request: Request) -> Response:
    service, told = service_of(request), metrics_of(request)
    told.read_only.set(service.read_only is not None)
    for config in service.config.collections:
        info = await _info(service, config.name)
        told.open.labels(config.name).set(info is not None)
        if info is not None:
            told.documents.labels(config.name).set(info.points)
            if info.tuning is not None:
                told.recall.labels(config.name).set(info.tuning.recall)
    return Response(told.exposition(), media_type=CONTENT_TYPE_LATEST)


async def _info(service: Service, name: str) -> IndexInfo | None:
    state = service.collections.get(name)
    if state is None:
        return None
    try:
        async with asyncio.timeout(CANARY_SECONDS):
            return await state.index.info()
    except (IndexFailure, TimeoutError):
        return None
