"""`/v1/collections/{collection}/duplicate-scans`: start, watch, read and apply scans."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from lookalike_crds.failures import (
    DUPLICATES_NOT_INSTALLED,
    NOT_FOUND,
    REPORT_NOT_REVIEWED,
    SCAN_ACTIVE,
    SCAN_NOT_COMPLETE,
)
from lookalike_serving.documents.ids import DOCUMENT_ID
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict
from lookalike_serving.gateway.bodies import read_json
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.openapi import json_body, problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import FILTERS, CollectionName, PositionCursor
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.indexes.hashes import can_compare
from lookalike_serving.problems import Problem, wrong
from lookalike_serving.scans.apply import Choice, apply
from lookalike_serving.scans.record import (
    FieldOrder,
    Group,
    Keep,
    Order,
    Rule,
    Scan,
    Scanned,
    ScanState,
)
from lookalike_serving.scans.runner import ScanRunner, scans_of
from lookalike_serving.scans.store import ScanStore

ScanId = Annotated[str, Path(json_schema_extra={"pattern": "^[0-9a-f]{32}$"})]
_SCANS = "/v1/collections/{collection}/duplicate-scans"
_SCAN = _SCANS + "/{scan_id}"
_PAGE = 100


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Entered after the app's own lifespan has put its service in place."""
    runner = app.state.scans = ScanRunner(app.state.service)
    runner.start()
    try:
        yield
    finally:
        await runner.close()


router = APIRouter(tags=["duplicates"], lifespan=_running)


class KeepByItself(BaseModel):
    """Keep the document of a group with most pixels, or the one that was created first or last."""

    model_config = ConfigDict(extra="forbid")

    rule: Literal["largest", "oldest", "newest"]


class KeepByField(BaseModel):
    """Keep the document of a group with the highest or lowest value of a metadata key."""

    model_config = ConfigDict(extra="forbid")

    rule: Literal["field"]
    field: str = Field(
        min_length=1, max_length=512, description="The key, with dots for nested ones."
    )
    order: FieldOrder = FieldOrder.HIGHEST


class KeepByFolder(BaseModel):
    """Keep the document of a group whose id begins with the first of these."""

    model_config = ConfigDict(extra="forbid")

    rule: Literal["folders"]
    folders: list[Annotated[str, Field(min_length=1, max_length=512)]] = Field(
        min_length=1, max_length=100, description="The preferred one first."
    )


KeepRule = Annotated[KeepByItself | KeepByField | KeepByFolder, Field(discriminator="rule")]
_KEEP = (
    "Which document of a group is kept. What the rule leaves open is decided by pixels, bytes, age "
    "and id."
)


class ScanRequest(BaseModel):
    """Which documents to compare with each other, and which of the same ones to keep."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"sensitivity": "strict", "keep": {"rule": "largest"}}]},
    )

    filters: dict[str, Any] | None = Field(
        default=None, description="Only documents that match.", json_schema_extra=FILTERS
    )
    sensitivity: Sensitivity = Field(
        default=Sensitivity.STRICT,
        description="How much evidence a copy needs. `strict` is meant for deleting.",
    )
    keep: KeepRule = Field(default_factory=lambda: KeepByItself(rule="largest"), description=_KEEP)


class ScanView(BaseModel):
    """A duplicate scan."""

    scan_id: str
    collection: str
    state: str = Field(description="QUEUED, RUNNING, CANCELLING, COMPLETED, FAILED or CANCELLED.")
    sensitivity: Sensitivity
    keep: KeepRule
    filters: dict[str, Any] | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    documents: int = Field(description="That matched when the scan began.")
    done: int = Field(description="Documents that were compared with the others so far.")
    unreadable: int = Field(description="Documents whose image could not be read.")
    rate: float | None = Field(default=None, description="Documents per second, recently.")
    eta_seconds: float | None = None
    pairs: int = Field(description="Pairs of the same picture that were found so far.")
    groups: int
    duplicates: int = Field(description="Documents of groups, without those that are kept.")
    bytes: int = Field(description="Of the images of these duplicates.")
    report_id: str | None = Field(
        default=None, description="Of a scan that is COMPLETED: what `apply` asks for."
    )
    failure: str | None = None
    failure_code: str | None = None


class ScanList(BaseModel):
    items: list[ScanView]
    next_cursor: str | None = None


class SeenDocument(BaseModel):
    """A document as the scan saw it."""

    document_id: str
    image: str
    width: int
    height: int
    bytes: int
    created_at: str


class MemberView(SeenDocument):
    verdict: Verdict = Field(description="exact: the same pixels; copy: the same picture, edited.")
    confidence: float
    keeper_is: str = Field(
        description="Which of the two the keeper is in the evidence: `query` or `document`."
    )
    evidence: dict[str, Any]


class GroupView(BaseModel):
    """Documents that show the same picture. Each was compared with the keeper itself."""

    group: int
    keeper: SeenDocument
    why: str = Field(description="Why it is kept.")
    members: list[MemberView]


class GroupList(BaseModel):
    items: list[GroupView]
    next_cursor: str | None


class ApplyRequest(BaseModel):
    """Delete the duplicates of a report, or tell what would be deleted."""

    model_config = ConfigDict(extra="forbid")

    report_id: str = Field(max_length=64, description="Of the scan, as it was looked at.")
    dry_run: bool = Field(
        default=True, description="Only tell what would be deleted. It has to be done first."
    )
    verdicts: list[Verdict] = Field(
        default_factory=lambda: [Verdict.EXACT, Verdict.COPY],
        max_length=3,
        description="Delete only documents with these verdicts.",
    )
    spare: list[Annotated[str, Field(json_schema_extra=DOCUMENT_ID)]] = Field(
        default_factory=list, max_length=1000, description="Ids of documents to leave."
    )


class LeftView(BaseModel):
    document_id: str
    why: str


class AppliedView(BaseModel):
    """What was done, or of a dry run what would be."""

    dry_run: bool
    deleted: int
    bytes: int
    gone: int = Field(description="Documents that are already deleted.")
    left: int = Field(description="Documents that are left, since they have changed or are spared.")
    more: bool = Field(description="There are more to delete: call again.")
    documents: list[str] = Field(description="The first 1,000 of those that are deleted.")
    told: list[LeftView] = Field(description="The first 1,000 of those that are left, and why.")


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
    if not can_compare():
        raise Problem(
            DUPLICATES_NOT_INSTALLED,
            "Scans for duplicates need OpenCV: install lookalike[duplicates], or use the serving "
            "image.",
        )
    parse_filters(asked.filters, state.config.fields)
    store = await scans_of(service, collection)
    for scan in await store.scans():
        if scan.state.active:
            raise Problem(
                SCAN_ACTIVE,
                f"Scan {scan.order.id} of collection {collection!r} is {scan.state}: wait until it "
                "has finished, or cancel it.",
            )
    order = Order(
        id=uuid.uuid4().hex,
        collection=collection,
        created_at=datetime.now(UTC),
        sensitivity=asked.sensitivity,
        keep=_keep(asked.keep),
        filters=asked.filters,
    )
    scan = await store.create(order)
    request.app.state.scans.look()
    location = _SCAN.format(collection=collection, scan_id=order.id)
    return json_response(request, _view(scan), 202, {"Location": location})


@router.get(
    _SCANS,
    summary="The last 20 duplicate scans of a collection, the newest first",
    response_model=None,
    responses={200: {"model": ScanList}, **problems(404, 503)},
)
async def list_scans(collection: CollectionName, request: Request) -> Response:
    store = await scans_of(service_of(request), collection)
    items = [_view(scan) for scan in await store.scans()]
    return json_response(request, {"items": items, "next_cursor": None})


@router.get(
    _SCAN,
    summary="Get the state of a duplicate scan",
    response_model=None,
    responses={200: {"model": ScanView}, **problems(404, 503)},
)
async def get_scan(collection: CollectionName, scan_id: ScanId, request: Request) -> Response:
    _, scan = await _found(request, collection, scan_id)
    return json_response(request, _view(scan))


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
    return json_response(request, _view(scan))


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
    more = first + limit < scan.progress.groups
    told = {
        "items": [_group(group) for group in groups],
        "next_cursor": str(first + limit) if more else None,
    }
    return json_response(request, told)


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
    return StreamingResponse(_csv(store, scan_id), media_type="text/csv", headers=headers)


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
    choice = Choice(tuple(asked.verdicts), frozenset(asked.spare))
    service = service_of(request)
    done = await apply(service, collection, store, scan_id, choice, dry_run=asked.dry_run)
    if asked.dry_run:
        await store.save_control(scan_id, replace(scan.control, reviewed=report))
    return json_response(request, {"dry_run": asked.dry_run, **asdict(done)})


def _keep(asked: KeepByItself | KeepByField | KeepByFolder) -> Keep:
    match asked:
        case KeepByField():
            return Keep(Rule.FIELD, asked.field, asked.order)
        case KeepByFolder():
            return Keep(Rule.FOLDERS, folders=tuple(asked.folders))
        case _:
            return Keep(Rule(asked.rule))


def _keep_view(keep: Keep) -> dict[str, Any]:
    told: dict[str, Any] = {"rule": keep.rule.value}
    if keep.rule is Rule.FIELD:
        told |= {"field": keep.field, "order": keep.order.value}
    elif keep.rule is Rule.FOLDERS:
        told["folders"] = list(keep.folders)
    return told


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


def _view(scan: Scan) -> dict[str, Any]:
    order, progress = scan.order, scan.progress
    moments = {
        "created_at": order.created_at,
        "started_at": progress.started_at,
        "finished_at": progress.finished_at,
    }
    told = {
        "scan_id": order.id,
        "collection": order.collection,
        "state": scan.state.value,
        "sensitivity": order.sensitivity.value,
        "keep": _keep_view(order.keep),
        "filters": order.filters,
        **{name: None if at is None else at.isoformat() for name, at in moments.items()},
        "documents": progress.total,
        "done": progress.done,
        "unreadable": progress.unreadable,
        "rate": None if progress.rate is None else round(progress.rate, 2),
        "eta_seconds": None if scan.eta_seconds is None else round(scan.eta_seconds, 1),
        "pairs": progress.pairs,
        "groups": progress.groups,
        "duplicates": progress.duplicates,
        "bytes": progress.bytes,
        "report_id": progress.report,
        "failure": progress.failure,
        "failure_code": progress.failure_code,
    }
    return {name: value for name, value in told.items() if value is not None}


def _document(document: Scanned) -> dict[str, Any]:
    return {name: getattr(document, name) for name in SeenDocument.model_fields}


def _group(group: Group) -> dict[str, Any]:
    return {
        "group": group.number,
        "keeper": _document(group.keeper),
        "why": group.why,
        "members": [
            {
                **_document(member.document),
                "verdict": member.verdict.value,
                "confidence": member.confidence,
                "keeper_is": member.keeper_is,
                "evidence": member.evidence,
            }
            for member in group.members
        ],
    }


async def _csv(store: ScanStore, scan_id: str) -> AsyncIterator[str]:
    out = io.StringIO()
    writer = csv.writer(out)
    columns = [*SeenDocument.model_fields]
    writer.writerow(["group", "keep", *columns, "verdict", "confidence", "why"])
    async for group in store.all_groups(scan_id):
        kept = [_cell(getattr(group.keeper, name)) for name in columns]
        writer.writerow([group.number, "yes", *kept, "", "", _cell(group.why)])
        for member in group.members:
            cells = [_cell(getattr(member.document, name)) for name in columns]
            verdict = member.verdict.value
            writer.writerow([group.number, "no", *cells, verdict, member.confidence, ""])
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    yield out.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
