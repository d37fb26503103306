"""Bodies of requests and answers about duplicate scans, and their groups as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lookalike_serving.documents.ids import DOCUMENT_ID
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict
from lookalike_serving.gateway.shapes import FILTERS
from lookalike_serving.scans.deciding import Decision
from lookalike_serving.scans.record import FieldOrder, Group, Keep, Rule, Scan, Scanned


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
    full: bool = Field(
        default=False,
        description="Compare all documents again. Otherwise, documents that have not changed since "
        "an earlier scan of the same documents with the same sensitivity keep its results.",
    )


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
    done: int = Field(description="Documents that were read so far.")
    unchanged: int = Field(
        description="Documents that have not changed since an earlier scan, whose results for them "
        "are used."
    )
    candidates: int | None = Field(
        default=None,
        description="Pairs of documents that are compared, known when all documents are read.",
    )
    compared: int = Field(description="Candidates that were compared so far.")
    unreadable: int = Field(description="Documents whose image was needed and could not be read.")
    rate: float | None = Field(
        default=None,
        description="Documents that are read per second, then candidates that are compared, "
        "recently.",
    )
    eta_seconds: float | None = Field(
        default=None, description="Until all documents are read, then until all are compared."
    )
    pairs: int = Field(description="Pairs of the same picture that were found so far.")
    groups: int
    duplicates: int = Field(description="Documents of groups, without those that are kept.")
    bytes: int = Field(description="Of the images of these duplicates.")
    report_id: str | None = Field(
        default=None, description="Of a scan that is COMPLETED: what `apply` asks for."
    )
    planned_for: datetime | None = Field(
        default=None, description="The time of the schedule that started it."
    )
    deleted: int | None = Field(
        default=None, description="Documents that the scan deleted, if the spec asks for it."
    )
    failure: str | None = None
    failure_code: str | None = None


class ScanList(BaseModel):
    items: list[ScanView]
    next_cursor: str | None = None


class DecisionsRequest(BaseModel):
    """What was decided about documents of a group. Others keep their decisions. `dismissed` also
    notes that the document and the keeper are not duplicates, and another decision lifts that."""

    model_config = ConfigDict(extra="forbid")

    decisions: dict[str, Decision | None] = Field(
        max_length=10_000, description="By document id. Null takes a decision back."
    )


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
    decision: Decision | None = Field(
        default=None, description="What a person decided about it, in an answer before."
    )


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
    only: list[Annotated[str, Field(json_schema_extra=DOCUMENT_ID)]] | None = Field(
        default=None,
        max_length=1000,
        description="Ids of the only documents that may be deleted: those that a person has "
        "decided about. Without it, all of the report.",
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


def keep_of(asked: KeepByItself | KeepByField | KeepByFolder) -> Keep:
    match asked:
        case KeepByField():
            return Keep(Rule.FIELD, asked.field, asked.order)
        case KeepByFolder():
            return Keep(Rule.FOLDERS, folders=tuple(asked.folders))
        case _:
            return Keep(Rule(asked.rule))


def _keep_json(keep: Keep) -> dict[str, Any]:
    told: dict[str, Any] = {"rule": keep.rule.value}
    if keep.rule is Rule.FIELD:
        told |= {"field": keep.field, "order": keep.order.value}
    elif keep.rule is Rule.FOLDERS:
        told["folders"] = list(keep.folders)
    return told


def scan_json(scan: Scan) -> dict[str, Any]:
    order, progress = scan.order, scan.progress
    moments = {
        "created_at": order.created_at,
        "started_at": progress.started_at,
        "finished_at": progress.finished_at,
        "planned_for": order.planned_for,
    }
    told = {
        "scan_id": order.id,
        "collection": order.collection,
        "state": scan.state.value,
        "sensitivity": order.sensitivity.value,
        "keep": _keep_json(order.keep),
        "filters": order.filters,
        **{name: None if at is None else at.isoformat() for name, at in moments.items()},
        "documents": progress.total,
        "done": progress.done,
        "unchanged": progress.unchanged,
        "candidates": progress.candidates,
        "compared": progress.compared,
        "unreadable": progress.unreadable,
        "rate": None if progress.rate is None else round(progress.rate, 2),
        "eta_seconds": None if scan.eta_seconds is None else round(scan.eta_seconds, 1),
        "pairs": progress.pairs,
        "groups": progress.groups,
        "duplicates": progress.duplicates,
        "bytes": progress.bytes,
        "report_id": progress.report,
        "deleted": progress.deleted,
        "failure": progress.failure,
        "failure_code": progress.failure_code,
    }
    return {name: value for name, value in told.items() if value is not None}


def _document_json(document: Scanned) -> dict[str, Any]:
    return {name: getattr(document, name) for name in SeenDocument.model_fields}


def group_json(group: Group, decided: Mapping[str, str]) -> dict[str, Any]:
    return {
        "group": group.number,
        "keeper": _document_json(group.keeper),
        "why": group.why,
        "members": [
            {
                **_document_json(member.document),
                "verdict": member.verdict.value,
                "confidence": member.confidence,
                "keeper_is": member.keeper_is,
                "evidence": member.evidence,
                **_decision(decided.get(member.document.document_id)),
            }
            for member in group.members
        ],
    }


def _decision(made: str | None) -> dict[str, str]:
    return {} if made is None else {"decision": made}


async def groups_csv(groups: AsyncIterator[Group]) -> AsyncIterator[str]:
    out = io.StringIO()
    writer = csv.writer(out)
    columns = [*SeenDocument.model_fields]
    writer.writerow(["group", "keep", *columns, "verdict", "confidence", "why"])
    async for group in groups:
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
