"""Batches on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lookalike_serving.batches.record import (
    MAX_ITEMS,
    PREVIEW,
    Batch,
    BatchState,
    Cause,
    Item,
    ItemState,
    OnError,
)
from lookalike_serving.copies.upload import OnDuplicate
from lookalike_serving.documents.ids import DOCUMENT_ID
from lookalike_serving.documents.metadata import METADATA

MAX_REFERENCE = 48 * 1024 * 1024
"""Characters of one inline image: 32 MiB of bytes as base64, and some."""


class SubmittedItem(BaseModel):
    """One image to store."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {
                    "required": [one],
                    "properties": {one: {"type": "string"}, other: {"type": "null"}},
                }
                for one, other in (("image", "file"), ("file", "image"))
            ]
        },
    )

    document_id: str | None = Field(
        default=None,
        description="Id of the document. Default: derived from the image.",
        json_schema_extra=DOCUMENT_ID,
    )
    image: Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE)] | None = Field(
        default=None, description="An https URL, a data URL, or base64."
    )
    file: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="In a multipart body: the filename of the part with the image."
    )
    metadata: dict[str, Any] = Field(default_factory=dict, json_schema_extra=METADATA)
    on_duplicate: OnDuplicate = Field(
        default=OnDuplicate.ALLOW,
        description="As for an upload. An item that is rejected fails with code `duplicate`.",
    )

    @model_validator(mode="after")
    def _one_image(self) -> Self:
        if (self.image is None) == (self.file is None):
            raise ValueError("write either `image` or, in a multipart body, `file`")
        return self


_WITHOUT_FILES: dict[str, Any] = {
    "x-ref": "SubmittedItem",
    "required": ["image"],
    "properties": {"image": {"type": "string"}, "file": {"type": "null"}},
}
"""Files are parts of multipart bodies alone."""


class SubmittedBatch(BaseModel):
    """A batch in one JSON body. Its items are read one by one: see intake.py."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "document_id": "mug-0042",
                            "image": "https://example.com/mug-0042.jpg",
                            "metadata": {"status": "active", "price": 12.5},
                        },
                        {"image": "data:image/jpeg;base64,/9j/4AAQ…"},
                    ],
                    "on_error": "continue",
                }
            ]
        },
    )

    items: list[SubmittedItem] = Field(
        min_length=1, max_length=MAX_ITEMS, json_schema_extra={"items": _WITHOUT_FILES}
    )
    on_error: OnError = Field(
        default=OnError.CONTINUE, description="`stop` ends the batch at the first item that fails."
    )


class ErrorView(BaseModel):
    """Why an item or a batch failed."""

    type: str
    code: str
    detail: str

    @classmethod
    def of(cls, cause: Cause | None) -> ErrorView | None:
        if cause is None:
            return None
        type = f"https://lookalike.dev/problems/{cause.code}"
        return cls(type=type, code=cause.code, detail=cause.detail)


class CountsView(BaseModel):
    """Items by state; the four add up to `total`."""

    total: int
    queued: int
    succeeded: int
    failed: int
    cancelled: int


class BatchView(BaseModel):
    """How a batch stands."""

    batch_id: str
    collection: str
    state: BatchState
    counts: CountsView
    on_error: OnError
    attempt: int = Field(description="1, plus one for each retry.")
    rate: float | None = Field(description="Current rate in images per second.")
    eta_seconds: float | None = Field(description="Estimated remaining time at the current rate.")
    failure: ErrorView | None = Field(
        description="If the state is FAILED: why the batch as a whole stopped."
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    warnings: list[str] = Field(default=[], description="Warnings of the submission.")

    @classmethod
    def of(cls, batch: Batch) -> BatchView:
        counts, progress = batch.counts, batch.progress
        current = progress.attempt == batch.control.attempt
        eta = batch.eta_seconds
        return cls(
            batch_id=batch.order.id,
            collection=batch.order.collection,
            state=batch.state,
            counts=CountsView(
                total=counts.total,
                queued=counts.queued,
                succeeded=counts.succeeded,
                failed=counts.failed,
                cancelled=counts.cancelled,
            ),
            on_error=batch.order.on_error,
            attempt=batch.control.attempt,
            rate=None if progress.rate is None else round(progress.rate, 2),
            eta_seconds=None if eta is None else round(eta, 1),
            failure=ErrorView.of(progress.failure) if current else None,
            created_at=batch.order.created_at,
            started_at=progress.started_at,
            finished_at=progress.finished_at if not batch.state.active else None,
        )


class ItemView(BaseModel):
    """One item and its outcome."""

    position: int = Field(description="Position in the request, from 0.")
    document_id: str
    state: ItemState
    image: str | None = Field(description="The URL; null if the request contained the bytes.")
    error: ErrorView | None
    warnings: list[str] = Field(
        description="If the state is SUCCEEDED: what was lost when the image was decoded, such "
        "as further frames."
    )

    @classmethod
    def of(cls, item: Item, batch: Batch) -> ItemView:
        return cls(
            position=item.position,
            document_id=item.document_id,
            state=item.state(batch),
            image=item.image[:PREVIEW] if item.image.startswith(("http:", "https:")) else None,
            error=ErrorView.of(item.error),
            warnings=list(item.warnings),
        )


class BatchPage(BaseModel):
    items: list[BatchView]
    next_cursor: str | None


class ItemPage(BaseModel):
    items: list[ItemView]
    next_cursor: str | None
