"""Storing one document: decode, embed, keep the image, write the point.

The one way a document gets in through the service; direct uploads and batches both take it. When
`store_document` returns, the document answers searches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lookalike_crds.failures import ALREADY_THERE
from lookalike_crds.moments import now_text
from lookalike_serving.documents import ids
from lookalike_serving.documents.layout import Origin, payload, point_id, split
from lookalike_serving.documents.metadata import checked_metadata
from lookalike_serving.images.holders import holder_of
from lookalike_serving.index.protocol import IndexFull, IndexRefused, Point, Record, Vector
from lookalike_serving.machine.disk import check_room
from lookalike_serving.problems import Problem, wrong
from lookalike_serving.service import CollectionState, Service

_GENERATED_ID_LENGTH = 32


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it now lies in the index."""

    document_id: str
    created: bool
    """False where it replaced an older version."""
    metadata: dict[str, Any]
    origin: Origin
    warnings: tuple[str, ...] = ()
    """What was lost when the image was decoded: further frames, a damaged EXIF block."""


async def store_document(
    service: Service,
    collection: str,
    image: bytes,
    metadata: dict[str, Any],
    document_id: str | None = None,
    *,
    only_new: bool = False,
) -> StoredDocument:
    """Store an image and its metadata under `document_id`, visible to search on return.

    Without an id the document gets one from its content, so that uploading the same bytes twice
    leaves one document. A document that exists is replaced as a whole; only `created_at` stays – or
    refused (412), as it is, with `only_new`.
    Raises Problem (unknown or closed collection, wrong metadata or id), ImageError (bytes that
    are no image), NoRoom and IndexFailure.
    """
    state = service.collection(collection)
    checked = checked_metadata(metadata, state.config.fields)
    if document_id is not None:
        document_id = checked_document_id(document_id)
    check_room(service.config.data_dir, len(image))  # before the work of embedding it
    digest = await service.in_thread(lambda: hashlib.sha256(image).hexdigest())
    document_id = document_id or digest[:_GENERATED_ID_LENGTH]
    if only_new:  # again when it is written: this one saves the work of embedding it
        _check_new(state, await state.index.retrieve([point_id(state.name, document_id)]))
    embedded = await state.embedder.embed_image_timed(image)
    facts = embedded.image
    assert facts is not None
    assert facts.format is not None
    origin = Origin(
        document_id=document_id,
        image="",  # where it is kept is known once it is
        fingerprint=digest,
        sha256=digest,
        width=facts.width,
        height=facts.height,
        format=facts.format,
        bytes=len(image),
    )
    stored = await _write(service, state, checked, origin, embedded.vector, image, only_new)
    return replace(stored, warnings=facts.warnings)


async def _write(
    service: Service,
    state: CollectionState,
    metadata: dict[str, Any],
    origin: Origin,
    vector: Vector,
    image: bytes,
    only_new: bool,
) -> StoredDocument:
    index, images = state.index, service.images
    assert origin.format is not None
    point = point_id(state.name, origin.document_id)
    holder = holder_of(state.config.index.name, point)
    async with service.document_lock(state.name, origin.document_id):
        existing = await index.retrieve([point])
        if only_new:
            _check_new(state, existing)
        before = split(existing[0].payload)[1] if existing else None
        now = utc_now()
        address = await images.put(image, origin.format, holder)
        replaces = before is not None and before.image != address
        origin = replace(
            origin,
            image=address,
            created_at=before.created_at if before is not None else now,
            updated_at=now,
        )
        try:
            await index.upsert([Point(point, vector, payload(metadata, origin))])
        except (IndexFull, IndexRefused):
            # Nothing was written. After any other failure it may have been, so the image stays.
            if before is None or replaces:
                await images.release(address, holder)
            raise
        if before is not None and replaces:
            await images.release(before.image, holder)
    return StoredDocument(origin.document_id, not existing, metadata, origin)


def _check_new(state: CollectionState, existing: Sequence[Record]) -> None:
    """Raises Problem 412."""
    if existing:
        raise Problem(
            ALREADY_THERE,
            f"collection {state.name!r} has this document already, and If-None-Match asks to store "
            "new ones alone: leave the header out to replace it",
        )


def storage_warnings(service: Service) -> list[str]:
    """What the caller of an upload should know of where its image lies."""
    if service.config.keeps_uploads:
        return []
    return [
        "the image itself is kept by the one pod that took it, and goes with that pod; searches "
        "keep finding the document: give the Retriever a volume with spec.serving.storage"
    ]


def checked_document_id(document_id: str) -> str:
    """The id as it is kept. Raises Problem 422 where it cannot be one (see `ids.py`)."""
    try:
        return ids.checked(document_id)
    except ids.BadDocumentId as bad:
        raise wrong("document_id", str(bad)) from None


def utc_now() -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return now_text("milliseconds")
