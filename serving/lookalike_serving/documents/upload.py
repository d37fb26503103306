"""Stores one document: decodes and embeds the image, keeps it, and writes the point.

Direct uploads and batches both use this, and there is no other way for a document to be stored
through the service. When `store_document` returns, searches find the document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lookalike_crds.failures import ALREADY_THERE
from lookalike_serving.documents import ids
from lookalike_serving.documents.build import Kept, Seen, document, look
from lookalike_serving.documents.layout import Origin, split
from lookalike_serving.documents.metadata import checked_metadata
from lookalike_serving.images import ImageFile
from lookalike_serving.images.holders import holder_of
from lookalike_serving.index.protocol import IndexFull, IndexRefused, Record
from lookalike_serving.machine.disk import check_room
from lookalike_serving.problems import Problem
from lookalike_serving.service import CollectionState, Service


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is now in the index."""

    document_id: str
    created: bool
    """False if it replaced an older version."""
    metadata: dict[str, Any]
    origin: Origin
    warnings: tuple[str, ...] = ()
    """What was lost when the image was decoded, such as further frames or a damaged EXIF block."""


async def store_document(
    service: Service,
    collection: str,
    image: ImageFile,
    metadata: dict[str, Any],
    document_id: str | None = None,
    *,
    only_new: bool = False,
    duplicate_of: str | None = None,
) -> StoredDocument:
    """Store an image and its metadata under `document_id`, visible to search on return.

    Without an id the document gets one from its content, so that uploading the same bytes twice
    leaves one document. A document that exists is replaced as a whole; only `created_at` stays – or
    refused (412), as it is, with `only_new`. `duplicate_of`: the document of which it is a copy.
    Raises Problem (unknown or closed collection, wrong metadata or id), ImageError (bytes that
    are no image), NoRoom and IndexFailure.
    """
    state = service.collection(collection)
    checked = checked_metadata(metadata, state.config.fields)
    document_id = ids.generated(image.sha256) if document_id is None else ids.asked(document_id)
    check_room(service.config.data_dir, len(image.data))  # before the work of embedding it
    if only_new:  # again when it is written: this one saves the work of embedding it
        _check_new(state, await state.index.retrieve([ids.point_id(state.name, document_id)]))
    seen = await look(
        image,
        state.embedder,
        copier=state.copier,
        kept=Kept.by(state.config.duplicates),
        max_pixels=service.config.fetch.max_pixels,
    )
    stored = await _write(service, state, document_id, seen, checked, only_new, duplicate_of)
    return replace(stored, warnings=seen.facts.warnings)


async def _write(
    service: Service,
    state: CollectionState,
    document_id: str,
    seen: Seen,
    metadata: dict[str, Any],
    only_new: bool,
    duplicate_of: str | None,
) -> StoredDocument:
    index, images = state.index, service.images
    point = ids.point_id(state.name, document_id)
    holder = holder_of(state.config.index.name, point)
    async with service.document_lock(state.name, document_id):
        existing = await index.retrieve([point])
        if only_new:
            _check_new(state, existing)
        before = split(existing[0].payload)[1] if existing else None
        address = await images.put(seen.file, seen.format, holder)
        replaces = before is not None and before.image != address
        made = document(
            state.name,
            document_id,
            seen,
            metadata,
            image=address,
            fingerprint=seen.file.sha256,
            before=before,
            duplicate_of=duplicate_of,
        )
        if (kept := seen.kept_features) is not None:  # before the document that says so
            await (await service.books(state.name)).note_features({point: kept})
        try:
            await index.upsert([made.point])
        except (IndexFull, IndexRefused):
            # Nothing was written. After any other failure it may have been, so the image stays.
            if before is None or replaces:
                await images.release(address, holder)
            raise
        state.hashes.note([made.point])
        if before is not None and replaces:
            await images.release(before.image, holder)
        if before is not None and before.features and seen.features is None:
            await (await service.books(state.name)).forget_features([point])
    return StoredDocument(document_id, not existing, metadata, made.origin)


def _check_new(state: CollectionState, existing: Sequence[Record]) -> None:
    """Raises Problem 412."""
    if existing:
        raise Problem(
            ALREADY_THERE,
            f"collection {state.name!r} has this document already, and If-None-Match allows new "
            "documents only: omit the header to replace it",
        )


def storage_warnings(service: Service) -> list[str]:
    """What the caller of an upload should know about where its image is stored."""
    if service.config.keeps_uploads:
        return []
    return [
        "the image is stored only by the pod that received it, and is lost with that pod; "
        "searches still find the document: give the Retriever a volume with "
        "spec.serving.storage"
    ]
