"""`/v1/collections/{collection}/runs`, `/failures`, `/deletions`: what is kept of ingestion."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from lookalike_crds.failures import NOT_FOUND, OF_ENTRIES, by_code
from lookalike_crds.progress import Counts, RunState
from lookalike_serving.books.record import Deletion, FailedEntry, Run
from lookalike_serving.documents.ids import point_id
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.cursors import read_cursor, write_cursor
from lookalike_serving.gateway.documents import decoded
from lookalike_serving.gateway.openapi import problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import CollectionName, DocumentIdInPath, PointCursor
from lookalike_serving.problems import Problem, wrong

router = APIRouter(tags=["ingestion"])

_COLLECTION = "/v1/collections/{collection}"
_CODES = tuple(sorted(row.code for row in OF_ENTRIES))
INTERRUPTED = "INTERRUPTED"


class Balance(BaseModel):
    """What became of the entries that were listed.

    `listed` is the sum of the others; `left` is 0 unless the run is under way or ended early.
    """

    listed: int
    new: int
    updated: int
    unchanged: int
    skipped: int
    failed: int
    left: int = Field(
        description="Nothing became of them yet. Of a run that ended: the next run's."
    )


class ByCode(BaseModel):
    code: str = Field(description="A row of the table of failures.")
    count: int
    remedy: str | None = Field(default=None, description="What to do, in one sentence.")


class SourceBalance(Balance):
    name: str
    deleted: int = Field(description="Documents deleted since the source no longer has them.")


class IngestionRun(BaseModel):
    """One run over a collection's sources; on a cluster, of all its pods."""

    run_id: str
    state: str = Field(
        description="LISTING, RUNNING, OPTIMIZING, COMPLETED, COMPLETED_WITH_ERRORS, FAILED; "
        "INTERRUPTED: it was killed."
    )
    reason: str | None = Field(default=None, description="Of one that failed.")
    message: str | None = None
    only_failed: bool = Field(description="It only tried again what had failed before.")
    of_changes: bool = Field(
        description="It looked at objects and files that change events named, and listed nothing."
    )
    started_at: datetime
    updated_at: datetime = Field(description="Of one that has ended: when.")
    parts: int = Field(description="Processes that share it.")
    attempts: int = Field(description="Most starts of one of them: more than 1 after a crash.")
    balance: Balance
    sources: list[SourceBalance]
    failures: list[ByCode]
    bytes: int = Field(description="Of the images that were read.")
    seconds: dict[str, float] = Field(
        description="By stage: list, fetch, write: in which at least one call was waited for; "
        "decode: of all threads together; embed: in which the model worked. Stages overlap."
    )


class RunList(BaseModel):
    items: list[IngestionRun]
    next_cursor: str | None = None


class FailureItem(BaseModel):
    """An entry of a source that could not be brought in. It goes once its image is in, or once the
    source no longer has it."""

    source: str
    key: str = Field(description="A path, an address, or the place of a row.")
    code: str = Field(description="A row of the table of failures.")
    cause: str
    remedy: str | None = None
    attempts: int
    first_at: str
    last_at: str


class FailureList(BaseModel):
    items: list[FailureItem]
    next_cursor: str | None
    by_code: list[ByCode] | None = Field(
        default=None, description="All of them counted, on the first page."
    )


class DeletionItem(BaseModel):
    """A document that was deleted, and that ingestion leaves away until its object changes."""

    document_id: str
    deleted_at: str
    source: str | None = None
    image: str | None = Field(default=None, description="Address of the object it came from.")


class DeletionList(BaseModel):
    items: list[DeletionItem]
    next_cursor: str | None


@router.get(
    _COLLECTION + "/runs",
    summary="The last 20 ingestion runs, and the last 20 over changes; the newest first",
    response_model=None,
    responses={200: {"model": RunList}, **problems(404, 503)},
)
async def list_runs(collection: CollectionName, request: Request) -> Response:
    books = await service_of(request).books(collection)
    now = datetime.now(UTC)
    items = [_run(run, now) for run in await books.runs()]
    return json_response(request, {"items": items, "next_cursor": None})


@router.get(
    _COLLECTION + "/failures",
    summary="Entries of sources that could not be ingested",
    response_model=None,
    responses={200: {"model": FailureList}, **problems(404, 422, 503)},
)
async def list_failures(
    collection: CollectionName,
    request: Request,
    code: str | None = Query(
        None, description="Only those of this row.", json_schema_extra={"enum": list(_CODES)}
    ),
    cursor: PointCursor = None,
    limit: int = Query(100, ge=1, le=1000),
) -> Response:
    if code is not None and code not in _CODES:
        raise wrong(
            "code", f"is none of the codes that an entry can fail with: {', '.join(_CODES)}"
        )
    books = await service_of(request).books(collection)
    page = await books.failures(code=code, after=read_cursor(cursor), limit=limit)
    told: dict[str, Any] = {
        "items": [_failure(each) for each in page.items],
        "next_cursor": write_cursor(page.next),
    }
    if cursor is None:
        told["by_code"] = _by_code(await books.failures_by_code())
    return json_response(request, told)


@router.get(
    _COLLECTION + "/deletions",
    summary="Documents that were deleted, and that ingestion leaves away",
    response_model=None,
    responses={200: {"model": DeletionList}, **problems(404, 422, 503)},
)
async def list_deletions(
    collection: CollectionName,
    request: Request,
    cursor: PointCursor = None,
    limit: int = Query(100, ge=1, le=1000),
) -> Response:
    books = await service_of(request).books(collection)
    page = await books.deletions(after=read_cursor(cursor), limit=limit)
    items = [_deletion(each) for each in page.items]
    return json_response(request, {"items": items, "next_cursor": write_cursor(page.next)})


@router.delete(
    _COLLECTION + "/deletions/{document_id:path}",
    status_code=204,
    summary="Let ingestion bring a deleted document again",
    response_class=Response,
    responses={**problems(404, 422, 503, 507)},
)
async def restore_document(
    collection: CollectionName, document_id: DocumentIdInPath, request: Request
) -> Response:
    books = await service_of(request).books(collection)
    name = decoded(document_id)
    point = point_id(collection, name)
    if not await books.deletions_of([point]):
        detail = f"No deletion of document {name!r} is noted in collection {collection!r}."
        raise Problem(NOT_FOUND, detail)
    await books.lift([point])
    return Response(status_code=204)


def _run(run: Run, now: datetime) -> dict[str, Any]:
    ended = [part for part in run.parts if part.message or part.reason]
    worst = max(ended, key=lambda part: list(RunState).index(part.state), default=None)
    return {
        "run_id": run.id,
        "state": INTERRUPTED if run.interrupted(now) else run.state.value,
        "reason": None if worst is None else worst.reason,
        "message": None if worst is None else worst.message,
        "only_failed": run.parts[0].only_failed,
        "of_changes": run.of_changes,
        "started_at": run.started_at.isoformat(),
        "updated_at": run.updated_at.isoformat(),
        "parts": run.parts[0].parts,
        "attempts": max(part.attempt for part in run.parts),
        "balance": _balance(run.counts),
        "sources": [
            {"name": name, **_balance(counts), "deleted": counts.deleted}
            for name, counts in run.sources.items()
        ],
        "failures": _by_code(run.failures),
        "bytes": run.bytes,
        "seconds": run.seconds,
    }


def _balance(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in Balance.model_fields}


def _by_code(counted: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"code": code, "count": count, "remedy": _remedy(code)} for code, count in counted.items()
    ]


def _remedy(code: str) -> str | None:
    """None for a code of another version."""
    return by_code(code).remedy if code in _CODES else None


def _failure(entry: FailedEntry) -> dict[str, Any]:
    return {
        "source": entry.source,
        "key": entry.key,
        "code": entry.code,
        "cause": entry.cause,
        "remedy": _remedy(entry.code),
        "attempts": entry.attempts,
        "first_at": entry.first_at,
        "last_at": entry.last_at,
    }


def _deletion(deletion: Deletion) -> dict[str, Any]:
    return {
        "document_id": deletion.document_id,
        "deleted_at": deletion.deleted_at,
        "source": deletion.source,
        "image": deletion.image,
    }
