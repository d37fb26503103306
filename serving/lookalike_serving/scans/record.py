"""What a scan is: records, states and the rules between them. Pure.

A record has parts, and each has one writer: `Order` (what was asked; written once), `Control`
(written by routes), `Progress` (written by the process that runs the scan) and `Turn` (written by
the process that applies the report).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from lookalike_crds.image_collection import DuplicateScanStatus
from lookalike_crds.moments import utc_text
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict

PAGE = 512
"""Documents of one record, if their hashes are stored."""
PICTURES = 32
"""Documents of one record, if their images are read; and candidate pairs of one record: what a scan
that is killed does again, at most."""
METHOD = 1
"""To be raised when scans find other candidates, or verdicts change: no earlier scan is a basis
then."""


class ScanState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    """Cancelled, and not ended yet. Derived, never stored as progress."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def active(self) -> bool:
        return self in (ScanState.QUEUED, ScanState.RUNNING, ScanState.CANCELLING)


class Rule(StrEnum):
    """Which document of a group is kept."""

    LARGEST = "largest"
    """Most pixels."""
    OLDEST = "oldest"
    """First in the collection."""
    NEWEST = "newest"
    FIELD = "field"
    """By the value of a metadata key."""
    FOLDERS = "folders"
    """By the folder that its id begins with, in a given order."""


class FieldOrder(StrEnum):
    HIGHEST = "highest"
    LOWEST = "lowest"


@dataclass(frozen=True, slots=True)
class Keep:
    rule: Rule = Rule.LARGEST
    field: str | None = None
    """With `FIELD`: the key, with dots for nested ones."""
    order: FieldOrder = FieldOrder.HIGHEST
    folders: tuple[str, ...] = ()
    """With `FOLDERS`: what ids begin with, the preferred one first."""

    @property
    def looks_at(self) -> str | None:
        """The metadata key whose value is recorded of each document."""
        return self.field if self.rule is Rule.FIELD else None


@dataclass(frozen=True, slots=True)
class Order:
    id: str
    collection: str
    created_at: datetime
    sensitivity: Sensitivity = Sensitivity.STRICT
    keep: Keep = Keep()
    filters: dict[str, Any] | None = None
    """As they were sent."""
    basis: str | None = None
    """The scan whose results hold for documents that have not changed since."""
    compares: str = ""
    """What verdicts depend on: two scans with the same value compare the same way."""
    planned_for: datetime | None = None
    """The time of the schedule that started it; None: somebody asked for it."""
    delete: tuple[Verdict, ...] = ()
    """Duplicates with these verdicts are deleted when the scan has completed."""


@dataclass(frozen=True, slots=True)
class Control:
    cancelled: bool = False
    reviewed: str | None = None
    """The report that a dry run was made of."""


@dataclass(frozen=True, slots=True)
class Progress:
    state: ScanState = ScanState.QUEUED
    total: int = 0
    """Documents that matched when the scan began."""
    done: int = 0
    """Documents that were read: their hashes and neighbours are known."""
    nearest_from: float | None = None
    """The score from which neighbours by embedding are candidates; None: all of them."""
    unchanged: int = 0
    """Of the documents, those whose results an earlier scan has."""
    candidates: int | None = None
    """Pairs that may show the same picture; None until all documents are read."""
    compared: int = 0
    """Candidates whose verdict is known."""
    unreadable: int = 0
    """Documents whose image was needed and could not be read."""
    pairs: int = 0
    groups: int = 0
    duplicates: int = 0
    """Documents of groups, without the keepers."""
    bytes: int = 0
    """Of their images."""
    rate: float | None = None
    """Documents that are read per second, then candidates that are compared, recently."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    report: str | None = None
    """Digest of the groups, once they are there: it names what a person has looked at."""
    deleted: int | None = None
    """Documents that the scan itself deleted, as the spec asks, also if it was cancelled then; None
    if it is not to delete."""
    failure: str | None = None
    """Why the scan failed, with the remedy."""
    failure_code: str | None = None
    owner: str | None = None
    heartbeat: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Which process applies the report at present (`turns.py`)."""

    owner: str
    held_at: datetime
    """When the process said so last."""


@dataclass(frozen=True, slots=True)
class Scan:
    order: Order
    control: Control
    progress: Progress
    turn: Turn | None = None

    @property
    def state(self) -> ScanState:
        if self.control.cancelled and self.progress.state.active:
            return ScanState.CANCELLING
        return self.progress.state

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the last document is read, or then the last candidate is compared; None if
        that cannot be told."""
        progress = self.progress
        if self.state is not ScanState.RUNNING or not progress.rate:
            return None
        if progress.candidates is None:
            return max(0, progress.total - progress.done) / progress.rate
        return max(0, progress.candidates - progress.compared) / progress.rate


def status_of(scan: Scan) -> DuplicateScanStatus:
    """What is reported of a scan that has ended."""
    progress = scan.progress
    ended = progress.finished_at or scan.order.created_at
    return DuplicateScanStatus(
        id=scan.order.id,
        state=_REPORTED[progress.state],
        time=utc_text(ended, "seconds"),
        scanned=progress.done,
        groups=progress.groups,
        documents=progress.duplicates,
        bytes=progress.bytes,
        deleted=progress.deleted,
        message=None if progress.failure is None else progress.failure[:1024],
    )


_REPORTED: dict[ScanState, Literal["Completed", "Failed", "Cancelled"]] = {
    ScanState.COMPLETED: "Completed",
    ScanState.FAILED: "Failed",
    ScanState.CANCELLED: "Cancelled",
}


class Scanned(NamedTuple):
    """A document as the scan saw it. Recorded as a list of its values, since there are as many as
    documents: a new one goes to the end, with a default."""

    point: str
    document_id: str
    version: str
    """Changes when the document does."""
    image: str
    picture: str = ""
    """What stays the same for as long as its image does (`copies/dismissals.py`)."""
    width: int = 0
    height: int = 0
    bytes: int = 0
    created_at: str = ""
    value: Any = None
    """Of the field that the rule looks at."""
    hashes: str | None = None
    """As `Hashes.stored` writes them; None if the image could not be read."""
    features: bool = False
    """Whether there are features, by which it is compared without its image."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two documents that show the same picture, by their numbers in the scan."""

    query: int
    """The one that the evidence calls the query."""
    document: int
    verdict: Verdict
    confidence: float
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, int]:
        return (min(self.query, self.document), max(self.query, self.document))


@dataclass(frozen=True, slots=True)
class Member:
    """A document that is the same picture as the keeper of its group."""

    document: Scanned
    verdict: Verdict
    confidence: float
    evidence: dict[str, Any]
    keeper_is: str
    """`query` or `document`: which of the two the keeper is in the evidence."""


@dataclass(frozen=True, slots=True)
class Group:
    number: int
    keeper: Scanned
    why: str
    """Why it is kept, in words."""
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """What was read of some documents that follow each other."""

    documents: tuple[Scanned, ...]
    fresh: tuple[int, ...]
    """Positions of those that no earlier scan has results for."""
    near: tuple[tuple[int, str], ...]
    """(number, point id): neighbours by embedding."""
    next: str | None
    """Where the following documents begin; None at the end."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of some candidates that follow each other."""

    pairs: tuple[Pair, ...]
    unreadable: tuple[int, ...] = ()
    """Documents whose image could not be read."""


# --- as JSON --------------------------------------------------------------------------------------


def encode(record: Order | Control | Progress | Turn | Page | Checked | Group) -> str:
    """As text: engines have their own ways with nested values, and one value is one write."""
    if isinstance(record, Page):  # most of all that is recorded: its values are plain as they are
        told = {name: getattr(record, name) for name in Page.__dataclass_fields__}
    else:
        told = _plain(record)
    told = {name: value for name, value in told.items() if value is not None}
    return json.dumps(told, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Scanned):
        return value
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.value if isinstance(value, StrEnum) else value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def decode_order(text: str) -> Order:
    told = json.loads(text)
    keep = told.get("keep", {})
    return Order(
        id=told["id"],
        collection=told["collection"],
        created_at=datetime.fromisoformat(told["created_at"]),
        sensitivity=Sensitivity(told["sensitivity"]),
        keep=Keep(
            Rule(keep["rule"]),
            keep.get("field"),
            FieldOrder(keep["order"]),
            tuple(keep.get("folders", ())),
        ),
        filters=told.get("filters"),
        basis=told.get("basis"),
        compares=told.get("compares", ""),
        planned_for=_moment(told.get("planned_for")),
        delete=tuple(map(Verdict, told.get("delete", ()))),
    )


def decode_control(text: str) -> Control:
    told = json.loads(text)
    return Control(told.get("cancelled", False), told.get("reviewed"))


def decode_turn(text: str) -> Turn:
    told = json.loads(text)
    return Turn(told["owner"], datetime.fromisoformat(told["held_at"]))


def decode_progress(text: str) -> Progress:
    told = json.loads(text)
    given = {
        **told,
        "state": ScanState(told["state"]),
        **{n: _moment(told.get(n)) for n in ("started_at", "finished_at", "heartbeat")},
    }
    return Progress(**{n: v for n, v in given.items() if n in Progress.__dataclass_fields__})


def _scanned(told: list[Any] | dict[str, Any]) -> Scanned:
    if isinstance(told, dict):  # as an earlier release wrote it
        return Scanned(**{name: value for name, value in told.items() if name in Scanned._fields})
    return Scanned._make(told) if len(told) == len(Scanned._fields) else Scanned(*told)


def decode_page(text: str) -> Page | None:
    """None for what an earlier release wrote: the page is read again."""
    told = json.loads(text)
    if "near" not in told:
        return None
    return Page(
        tuple(map(_scanned, told["documents"])),
        tuple(told["fresh"]),
        tuple(map(tuple, told["near"])),
        told.get("next"),
    )


def decode_checked(text: str) -> Checked:
    told = json.loads(text)
    pairs = (
        Pair(p["query"], p["document"], Verdict(p["verdict"]), p["confidence"], p["evidence"])
        for p in told["pairs"]
    )
    return Checked(tuple(pairs), tuple(told["unreadable"]))


def decode_group(text: str) -> Group:
    told = json.loads(text)
    members = (
        Member(
            _scanned(m["document"]),
            Verdict(m["verdict"]),
            m["confidence"],
            m["evidence"],
            m["keeper_is"],
        )
        for m in told["members"]
    )
    return Group(told["number"], _scanned(told["keeper"]), told["why"], tuple(members))
