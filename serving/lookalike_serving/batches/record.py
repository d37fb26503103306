"""What a batch is: records, states and the rules between them. Pure.

A record has three parts, and each has one writer, so that a gateway that cancels and another one
that runs the batch never overwrite each other: `Order` (what was requested; written once),
`Control` (cancel and retry; written by routes) and `Progress` (written by the runner). The state
that callers see is derived from the three, here and nowhere else.

A retry does not rewrite items. It raises `control.attempt`, one atomic write, and a failed item of
an earlier attempt thereby counts as queued again.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

PREVIEW = 2048
"""The number of characters of an image URL that listings show."""

MAX_ITEMS = 10_000
"""Items of one batch."""


class BatchState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    """Cancelled, but items in progress have not ended yet. Derived, never stored as progress."""
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def active(self) -> bool:
        """Whether anything about the batch may still change by itself."""
        return self in (BatchState.QUEUED, BatchState.RUNNING, BatchState.CANCELLING)


class ItemState(StrEnum):
    QUEUED = "QUEUED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class OnError(StrEnum):
    CONTINUE = "continue"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an item, or a whole batch, failed."""

    code: str
    """For programs; the codes of `images/errors.py` and of the API's problems."""
    detail: str
    """For people: what was found, where, and the remedy."""


@dataclass(frozen=True, slots=True)
class Order:
    """What was requested. Never changes."""

    id: str
    """UUID whose order is newest first: see `new_batch_id`."""
    collection: str
    total: int
    on_error: OnError
    created_at: datetime
    request_digest: str | None = None
    """SHA-256 of the request's items if it had an Idempotency-Key."""
    place: str | None = None
    """The `Staging.place` that holds the bytes of its images; None if none came inline."""


@dataclass(frozen=True, slots=True)
class Control:
    """What callers have requested for the batch since."""

    attempt: int = 1
    cancelled: int | None = None
    """The attempt that was cancelled.

    Later retries do not try the items that were not tried by then.
    """


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of the runner."""

    attempt: int = 1
    """The attempt that this progress belongs to."""
    state: BatchState = BatchState.QUEUED
    succeeded: int = 0
    failed: int = 0
    untried: int = 0
    """Items without any outcome."""
    again: int = 0
    """Failures of an earlier attempt that this one has not reached yet; not part of `failed`."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failure: Cause | None = None
    """Why the batch as a whole failed."""
    rate: float | None = None
    """Recent rate, in items per second."""
    owner: str | None = None
    """Id of the process that runs it."""
    heartbeat: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    total: int
    queued: int
    succeeded: int
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Batch:
    order: Order
    control: Control
    progress: Progress

    @property
    def state(self) -> BatchState:
        progress, control = self.progress, self.control
        if progress.attempt == control.attempt and not progress.state.active:
            return progress.state  # it finished before a cancellation was noticed
        if control.cancelled == control.attempt:
            # Only the runner knows when nothing is in progress any more, and records it.
            return BatchState.CANCELLING
        return progress.state if progress.attempt == control.attempt else BatchState.QUEUED

    @property
    def counts(self) -> Counts:
        """Items by state, as `Item.state` would count them one by one."""
        progress = self.progress
        failed, again = progress.failed, progress.again
        if progress.attempt < self.control.attempt:
            failed, again = 0, failed + again
        if not self.state.active:
            failed, again = failed + again, 0
        abandoned = self.abandoned
        return Counts(
            total=self.order.total,
            queued=again + (0 if abandoned else progress.untried),
            succeeded=progress.succeeded,
            failed=failed,
            cancelled=progress.untried if abandoned else 0,
        )

    @property
    def abandoned(self) -> bool:
        """Whether items without an outcome will get none, because a cancellation took effect."""
        return self.control.cancelled is not None and self.state is not BatchState.CANCELLING

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the last item is done at the current rate; None if there is no rate."""
        if self.state is not BatchState.RUNNING or not self.progress.rate:
            return None
        return self.counts.queued / self.progress.rate


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a batch."""

    batch: str
    position: int
    """0-based place in the request."""
    document_id: str
    image: str
    """`https://…`, or `staged:…` for bytes that came inline; empty if those could not be read."""
    metadata: dict[str, Any] = field(default_factory=dict)
    on_duplicate: str | None = None
    """`OnDuplicate`: link or reject. None: the image is stored in any case."""
    outcome: ItemState = ItemState.QUEUED
    """As stored: QUEUED (never tried), SUCCEEDED or FAILED."""
    attempt: int = 0
    """The attempt that gave the outcome."""
    error: Cause | None = None
    warnings: tuple[str, ...] = ()
    """For an item that succeeded: what was lost when its image was decoded."""

    def state(self, batch: Batch) -> ItemState:
        """The state that a caller sees, given the state of the batch."""
        if self.outcome is ItemState.QUEUED:
            return ItemState.CANCELLED if batch.abandoned else ItemState.QUEUED
        if self.outcome is ItemState.FAILED and self.to_retry(batch):
            return ItemState.QUEUED
        return self.outcome

    def to_retry(self, batch: Batch) -> bool:
        """Whether this failure belongs to an earlier attempt than the current one."""
        return (
            self.outcome is ItemState.FAILED
            and self.attempt < batch.control.attempt
            and batch.state.active
        )


def verdict(counts: Counts) -> BatchState:
    """The final state of a batch with nothing left to do."""
    if counts.cancelled:
        return BatchState.CANCELLED
    if counts.failed == 0:
        return BatchState.COMPLETED
    return BatchState.COMPLETED_WITH_ERRORS if counts.succeeded else BatchState.FAILED


# Ids. Index engines hand points out in id order, so order is made part of the id: batches first,
# the newest before the others, then items by batch and position. Listing then needs neither a
# filter nor a sort.
#
#   batch  0 tttttttttttt 8 rrr  vrrr rrrr 0000 0000    t: 2^48 - 1 - milliseconds (44 bits used)
#   item   1 …the batch's…                 pppp pppp    p: position


_EPOCH_END = (1 << 44) - 1


def new_batch_id(now: datetime) -> str:
    """A fresh batch id (UUID version 8): ids made later sort earlier, down to the millisecond."""
    reversed_time = _EPOCH_END - int(now.timestamp() * 1000)
    return str(
        uuid.UUID(
            int=reversed_time << 80
            | 0x8 << 76
            | secrets.randbits(12) << 64
            | 0b10 << 62
            | secrets.randbits(30) << 32
        )
    )


def made_at(batch: str) -> datetime:
    """When a batch id was made."""
    reversed_time = uuid.UUID(batch).int >> 80
    return datetime.fromtimestamp((_EPOCH_END - reversed_time) / 1000, UTC)


def is_batch_id(id: str) -> bool:
    """Whether `id` has the form of an id made here, which rejects anything else without a read."""
    try:
        value = uuid.UUID(id)
    except ValueError:
        return False
    return str(value) == id and value.int >> 124 == 0 and value.int & 0xFFFF_FFFF == 0


def item_point_id(batch: str, position: int) -> str:
    return str(uuid.UUID(int=uuid.UUID(batch).int | 1 << 124 | position))


def is_item_point_id(id: str) -> bool:
    return uuid.UUID(id).int >> 124 == 1


_KEYS = uuid.UUID("6f1c5a52-9c3c-5d0e-9a43-5f2f6a3d7f10")


def idempotency_point_id(collection: str, key: str) -> str:
    """The id of the record of an Idempotency-Key; it sorts after batches and items."""
    named = uuid.uuid5(_KEYS, f"{collection}\x00{key}").int
    return str(uuid.UUID(int=named & ((1 << 124) - 1) | 2 << 124))
