"""`/v1/collections/{collection}/events`: what services of buckets tell of changed objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, Field

from lookalike_crds.failures import BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE
from lookalike_crds.progress import ByCause, Tally
from lookalike_serving.gateway.auth import ApiKeys, bearer
from lookalike_serving.gateway.bodies import without_mark
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.notices import (
    KNOWN,
    SCHEMA,
    NotUnderstood,
    binary_cloud_event,
    read_notices,
)
from lookalike_serving.gateway.openapi import problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import CollectionName
from lookalike_serving.gateway.subscriptions import confirm
from lookalike_serving.ingest.changes.changes import Changes
from lookalike_serving.ingest.changes.matching import of_collection, sources_of
from lookalike_serving.problems import Problem, wrong

MAX_BYTES = 8 * 1024 * 1024


class IgnoredEvents(BaseModel):
    cause: str
    count: int
    example: str | None = Field(description="One of the objects.")


class EventsAnswer(BaseModel):
    """Accepted keys are written down, and are looked at in the background."""

    accepted: int = Field(description="Keys of sources that will be looked at.")
    ignored: list[IgnoredEvents] = Field(description="Events of objects that no source reads.")


class EventsStatus(BaseModel):
    """Where to send the events of a collection, and what is still to be done."""

    path: str = Field(
        description="Where to send events, below the address of the service. It contains a token, "
        "if API keys are configured, that is good for this alone and goes with the key."
    )
    waiting: int = Field(description="Keys that are still to be looked at.")
    oldest: datetime | None = Field(description="When the first of these was accepted.")
    problem: str | None = Field(description="Why they wait, if something is in their way.")


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Entered after the app's own lifespan has put its service in place."""
    changes = app.state.changes = Changes(app.state.service)
    changes.start()
    try:
        yield
    finally:
        await changes.close()


router = APIRouter(tags=["ingestion"], lifespan=_running)

_PATH = "/v1/collections/{collection}/events"
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"JSON: {KNOWN}.",
        "content": {"application/json": {"schema": SCHEMA}},
    }
}


@router.post(
    _PATH,
    status_code=202,
    summary="Tell of objects that were made, changed or removed",
    response_model=None,
    responses={
        200: {"description": "A subscription was confirmed, as its sender asks for it"},
        202: {"model": EventsAnswer, "description": "Written down: to be looked at"},
        **problems(404, 413, 415, 422, 502, 503, 507),
    },
    openapi_extra=_BODY,
)
async def take_events(collection: CollectionName, request: Request) -> Response:
    service = service_of(request)
    service.collection(collection)
    _check_type(request)
    body = await request.body()
    if len(body) > MAX_BYTES:
        raise _too_large(len(body))
    try:
        notices = read_notices(binary_cloud_event(request.headers, body) or without_mark(body))
    except NotUnderstood as error:
        raise wrong("", f"the body {error}: send {KNOWN}") from None
    if notices.validation_code is not None:
        return json_response(request, {"validationResponse": notices.validation_code})
    if notices.subscription is not None:
        await confirm(notices.subscription)
        return json_response(request, {"confirmed": notices.subscription.get("TopicArn")})
    declared = of_collection(service.config.sources, collection)
    keys: dict[tuple[str, str], None] = {}
    ignored = Tally()
    for notice in notices.objects:
        found, why = sources_of(notice, declared)
        keys.update(dict.fromkeys(found))
        if why is not None:
            ignored.add(ByCause(cause=why, of="file", source="", example=str(notice)[:500]))
    await _changes(request).accept(collection, list(keys))
    told = [
        {"cause": each.cause, "count": each.count, "example": each.example}
        for each in ignored.most_frequent()
    ]
    if notices.other:
        what = "is about no object"
        told.append({"cause": what, "count": notices.other, "example": None})
    return json_response(request, {"accepted": len(keys), "ignored": told}, 202)


@router.options(_PATH, include_in_schema=False)
async def allow_events(collection: CollectionName, request: Request) -> Response:
    """The handshake of CloudEvents (HTTP 1.1 Web Hooks, 4.2), which Event Grid asks for."""
    service_of(request).collection(collection)
    origin = request.headers.get("webhook-request-origin")
    allowed = {} if origin is None else {"WebHook-Allowed-Origin": origin}
    return Response(status_code=200, headers={"Allow": "GET, POST, OPTIONS", **allowed})


@router.get(
    _PATH,
    summary="Where to send events, and how many changes are still to be looked at",
    response_model=None,
    responses={200: {"model": EventsStatus}, **problems(404, 503)},
)
async def events_status(collection: CollectionName, request: Request) -> Response:
    waiting = _changes(request).waiting(collection)
    keys: ApiKeys | None = request.app.state.keys
    key = bearer(request.scope)
    token = "" if keys is None or key is None else f"?token={keys.token_of(key, collection)}"
    told = EventsStatus(
        path=f"/v1/collections/{collection}/events{token}",
        waiting=waiting.keys,
        oldest=waiting.oldest,
        problem=waiting.problem,
    )
    return json_response(request, told.model_dump(mode="json"))


def _changes(request: Request) -> Changes:
    changes: Changes = request.app.state.changes
    return changes


def _check_type(request: Request) -> None:
    """Raises Problem 415. A page of anybody may send a body as text, but no header of SNS."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    if not is_json and "x-amz-sns-message-type" not in request.headers:
        detail = f"The body is {kind[:100]!r}: send it with Content-Type: application/json."
        raise Problem(UNSUPPORTED_MEDIA_TYPE, detail)


def _too_large(size: int) -> Problem:
    return Problem(
        BODY_TOO_LARGE,
        f"The body has {size:,} bytes: send at most {MAX_BYTES:,} at once, as several requests.",
    )
