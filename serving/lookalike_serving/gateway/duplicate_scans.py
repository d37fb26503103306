"""`/v1/collections/{collection}/duplicate-scans`: start, watch, read and apply scans."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from lookalike_crds.failures import (
    NOT_FOUND,
    REPORT_NOT_REVIEWED,
    SCAN_NOT_COMPLETE,
)
from lookalike_serving.gateway.bodies import read_json
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.duplicate_scan_bodies import (
    AppliedView,
    ApplyRequest,
    DecisionsRequest,
    GroupList,
    GroupView,
    ScanList,
    ScanRequest,
    ScanView,
    group_json,
    groups_csv,
    keep_of,
    scan_json,
)
from lookalike_serving.gateway.openapi import json_body, problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import CollectionName, PositionCursor
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.indexes.hashes import check_comparing
from lookalike_serving.problems import Problem, wrong
from lookalike_serving.scans import deciding
from lookalike_serving.scans.apply import Choice, apply, tried
from lookalike_serving.scans.record import (
    Order,
    Scan,
    ScanState,
)
from lookalike_serving.scans.runner import ScanRunner, scans_of
from lookalike_serving.scans.store import ScanStore

ScanId = Annotated[str, Path(json_schema_extra={"pattern": "^[0-9a-f]{32}$"})]
_SCANS = "/v1/collections/{collection}/duplicate-scans"
_SCAN = _SCANS + "/{scan_id}"


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Entered after the app's own lifespan has put its service in place."""
    runner = app.state.scans = ScanRunner(app.state.service)
    app.state.metrics.watch_scans(runner.counts)
    runner.start()
    try:
        yield
    finally:
        await runner.close()


router = APIRouter(tags=["duplicates"], lifespan=_running)


@router.post(
    _SCANS,
    status_code=202,
    summary="Look for documents of a collection that show the same picture",
    response_model=None,
    responses={
        202: {"model": ScanView, "description": "Accepted: see Location"},
        **problems(404, 409, 415, 422, 501, 503, 507),
    },
    openapi_extra=json_body(ScanRequest),
)
async def create_scan(collection: CollectionName, request: Request) -> Response:
    service = service_of(request)
    state = service.collection(collection)
    asked = await read_json(request, ScanRequest)
    check_comparing()
    parse_filters(asked.filters, state.config.fields)
    order = Order(
        id=uuid.uuid4().hex,
        collection=collection,
        created_at=datetime.now(UTC),
        sensitivity=asked.sensitivity,
        keep=keep_of(asked.keep),
        filters=asked.filters,
    )
    runner: ScanRunner = request.app.state.scans
    scan = await runner.begin(order, state.config, full=asked.full)
    location = _SCAN.format(collection=collection, scan_id=order.id)
    return json_response(request, scan_json(scan), 202, {"Location": location})


@router.get(
    _SCANS,
    summary="The last 20 duplicate scans of a collection, the newest first",
    response_model=None,
    responses={200: {"model": ScanList}, **problems(404, 503)},
)
async def list_scans(collection: CollectionName, request: Request) -> Response:
    store = await scans_of(service_of(request), collection)
    items = [scan_json(scan) for scan in await store.scans()]
    return json_response(request, {"items": items, "next_cursor": None})


@router.get(
    _SCAN,
    summary="Get the state of a duplicate scan",
    response_model=None,
    responses={200: {"model": ScanView}, **problems(404, 503)},
)
async def get_scan(collection: CollectionName, scan_id: ScanId, request: Request) -> Response:
    _, scan = await _found(request, collection, scan_id)
    return json_response(request, scan_json(scan))


@router.post(
    _SCAN + "/cancel",
    summary="Cancel a duplicate scan",
    response_model=None,
    responses={200: {"model": ScanView}, **problems(404, 503, 507)},
)
async def cancel_scan(collection: CollectionName, scan_id: ScanId, request: Request) -> Response:
    store, scan = await _found(request, collection, scan_id)
    if scan.state.active:
        scan = replace(scan, control=replace(scan.control, cancelled=True))
        await store.save_control(scan_id, scan.control)
        request.app.state.scans.look()
        _, scan = await _found(request, collection, scan_id)  # it may have ended meanwhile
    return json_response(request, scan_json(scan))


@router.get(
    _SCAN + "/groups",
    summary="Groups of documents that show the same picture",
    response_model=None,
    responses={200: {"model": GroupList}, **problems(404, 409, 422, 503)},
)
async def list_groups(
    collection: CollectionName,
    scan_id: ScanId,
    request: Request,
    cursor: PositionCursor = None,
    limit: int = Query(50, ge=1, le=1000),
) -> Response:
    store, scan = await _complete(request, collection, scan_id)
    first = int(cursor) if cursor else 0
    groups = await store.groups(scan_id, first, limit)
    decided = await store.decided(scan_id, [group.number for group in groups])
    more = first + limit < scan.progress.groups
    told = {
        "items": [group_json(group, decided.get(group.number, {})) for group in groups],
        "next_cursor": str(first + limit) if more else None,
    }
    return json_response(request, told)


@router.put(
    _SCAN + "/groups/{group}/decisions",
    summary="Keep what was decided about documents of a group",
    response_model=None,
    responses={200: {"model": GroupView}, **problems(404, 409, 415, 422, 503, 507)},
    openapi_extra=json_body(DecisionsRequest),
)
async def decide(
    collection: CollectionName,
    scan_id: ScanId,
    group: Annotated[int, Path(ge=0)],
    request: Request,
) -> Response:
    asked = await read_json(request, DecisionsRequest)
    store, _ = await _complete(request, collection, scan_id)
    found = await store.groups(scan_id, group, 1)
    if not found:
        raise Problem(NOT_FOUND, f"Scan {scan_id} has no group {group}.")
    members = {each.document.document_id for each in found[0].members}
    for id in asked.decisions:
        if id not in members:
            raise wrong("decisions", f"{id!r} is no member of group {group}")
    noted = await deciding.decide(
        service_of(request), collection, store, scan_id, found[0], asked.decisions
    )
    return json_response(request, group_json(found[0], noted))


@router.get(
    _SCAN + "/groups.csv",
    summary="All groups as CSV, one row for each document",
    response_class=Response,
    responses={200: {"content": {"text/csv": {}}}, **problems(404, 409, 503)},
)
async def groups_as_csv(collection: CollectionName, scan_id: ScanId, request: Request) -> Response:
    store, _ = await _complete(request, collection, scan_id)
    named = f'attachment; filename="duplicates-{collection}.csv"'
    headers = {"Content-Disposition": named}
    return StreamingResponse(
        groups_csv(store.all_groups(scan_id)), media_type="text/csv", headers=headers
    )


@router.post(
    _SCAN + "/apply",
    summary="Delete the duplicates of a report that was looked at",
    response_model=None,
    responses={200: {"model": AppliedView}, **problems(404, 409, 415, 422, 503, 507)},
    openapi_extra=json_body(ApplyRequest),
)
async def apply_scan(collection: CollectionName, scan_id: ScanId, request: Request) -> Response:
    asked = await read_json(request, ApplyRequest)
    store, scan = await _complete(request, collection, scan_id)
    report = scan.progress.report
    if asked.report_id != report:
        raise wrong("report_id", f"is not that of this scan, which is {report}: look at it again")
    if not asked.dry_run and scan.control.reviewed != report:
        raise Problem(
            REPORT_NOT_REVIEWED,
            f"Nobody has looked at what the report {report} would delete: send it with "
            '"dry_run": true first.',
        )
    only = None if asked.only is None else frozenset(asked.only)
    choice = Choice(tuple(asked.verdicts), frozenset(asked.spare), only)
    service = service_of(request)
    if asked.dry_run:
        done = await tried(service, collection, store, scan_id, choice)
        await store.save_control(scan_id, replace(scan.control, reviewed=report))
    else:
        runner: ScanRunner = request.app.state.scans
        async with runner.turns.turn(store, collection, scan_id) as held:

            async def go_on() -> bool:
                await held.renew()
                return True

            done = await apply(service, collection, store, scan_id, choice, go_on)
    return json_response(request, {"dry_run": asked.dry_run, **asdict(done)})


async def _found(request: Request, collection: str, scan_id: str) -> tuple[ScanStore, Scan]:
    """Raises Problem 404."""
    store = await scans_of(service_of(request), collection)
    scan = await store.scan(scan_id)
    if scan is None:
        raise Problem(
            NOT_FOUND, f"There is no duplicate scan {scan_id!r} in collection {collection!r}."
        )
    return store, scan


async def _complete(request: Request, collection: str, scan_id: str) -> tuple[ScanStore, Scan]:
    """Raises Problem 404 and 409."""
    store, scan = await _found(request, collection, scan_id)
    if scan.state is not ScanState.COMPLETED:
        raise Problem(
            SCAN_NOT_COMPLETE, f"Scan {scan_id} is {scan.state}: only a COMPLETED one has a report."
        )
    return store, scan
