"""Stored documents: read, change, delete. (Storing them: upload.py.)"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lookalike_crds.failures import NOT_FOUND
from lookalike_crds.moments import now_text
from lookalike_serving.books.record import Deletion
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import RESERVED, Origin, payload, split
from lookalike_serving.documents.links import image_path, thumbnail_path
from lookalike_serving.documents.metadata import checked_metadata
from lookalike_serving.images.holders import holder_of
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import Record, Vector
from lookalike_serving.problems import Problem
from lookalike_serving.service import CollectionState, Service

_AT_ONCE = 1000
"""Documents that are deleted together."""


@dataclass(frozen=True, slots=True)
class FoundDocument:
    metadata: dict[str, Any]
    origin: Origin
    vector: Vector | None = None


def read_record(record: Record) -> FoundDocument | None:
    """The document in a record; None if another program wrote the point."""
    if RESERVED not in record.payload:
        return None
    metadata, origin = split(record.payload)
    return FoundDocument(metadata, origin, record.vector)


async def find_document(
    service: Service, collection: str, document_id: str, *, with_vector: bool = False
) -> FoundDocument:
    """Raises Problem 404 if there is none."""
    index = service.collection(collection).index
    records = await index.retrieve([point_id(collection, document_id)], with_vector=with_vector)
    found = read_record(records[0]) if records else None
    if found is None:
        detail = f"There is no document {document_id!r} in collection {collection!r}."
        raise Problem(NOT_FOUND, detail)
    return found


async def change_metadata(
    service: Service, collection: str, document_id: str, changes: dict[str, Any]
) -> FoundDocument:
    """Set the given keys; a null removes its key; other keys stay.

    Concurrent changes of one document are all kept: they take turns within this process, and
    setting keys without removing any writes those keys alone. Raises Problem 404, or 422 if the
    changes or the resulting metadata are wrong.
    """
    state = service.collection(collection)
    checked = checked_metadata(changes, state.config.fields)
    removed = {key for key, value in checked.items() if value is None}
    point = point_id(collection, document_id)
    async with service.document_lock(collection, document_id):
        before = await find_document(service, collection, document_id)
        metadata = {k: v for k, v in {**before.metadata, **checked}.items() if k not in removed}
        checked_metadata(metadata, ())
        origin = replace(before.origin, updated_at=now_text("milliseconds"))
        if removed:
            await state.index.replace_payload(point, payload(metadata, origin))
        else:
            stored = payload(metadata, origin)
            await state.index.merge_payload(
                point, {key: stored[key] for key in (*checked, RESERVED)}
            )
    return FoundDocument(metadata, origin)


async def remove_document(
    service: Service, collection: str, document_id: str, *, forget: bool = False
) -> None:
    """Delete a document. Raises Problem 404 if there is none.

    Ingestion does not bring it back, unless its object changes: that somebody deleted it is noted
    first, so that a failure in between leaves a document that can be deleted again. `forget`: it is
    not noted, nor is what was noted of an earlier deletion; then the document need not be there. An
    uploaded image is removed with the last document that has its bytes.
    """
    async with service.document_lock(collection, document_id):
        await remove_locked(service, collection, document_id, forget=forget)


async def remove_locked(
    service: Service, collection: str, document_id: str, *, forget: bool = False
) -> None:
    """`remove_document`, for who holds the document's lock."""
    state = service.collection(collection)
    books = await service.books(collection)
    point = point_id(collection, document_id)
    if forget and await books.deletions_of([point]):
        await books.lift([point])
        if not await state.index.retrieve([point], with_payload=False):
            return
    found = await find_document(service, collection, document_id)
    if not forget and may_come_back(state, found.origin):
        await books.note_deletions({point: deletion_of(found.origin)})
    await state.index.delete([point])
    state.hashes.forget([point])
    if found.origin.features is not None:
        await books.forget_features([point])
    await service.images.release(found.origin.image, holder_of(state.config.index.name, point))


async def remove_documents(
    service: Service, collection: str, filter: Filter, *, most: int, forget: bool = False
) -> int:
    """Delete the documents that match, at most so many of them, as `remove_document` does; how
    many were deleted."""
    state = service.collection(collection)
    books = await service.books(collection)
    deleted = 0
    while deleted < most:
        page = await state.index.scroll(
            filter=filter, limit=min(_AT_ONCE, most - deleted), with_payload=(RESERVED,)
        )
        found = {r.id: split(r.payload)[1] for r in page.records if RESERVED in r.payload}
        if not found:
            return deleted
        if forget:
            await books.lift(list(found))
        else:
            await books.note_deletions(
                {
                    point: deletion_of(origin)
                    for point, origin in found.items()
                    if may_come_back(state, origin)
                }
            )
        await state.index.delete(list(found))
        state.hashes.forget(found)
        await books.forget_features(p for p, origin in found.items() if origin.features is not None)
        for point, origin in found.items():
            await service.images.release(origin.image, holder_of(state.config.index.name, point))
        deleted += len(found)
    return deleted


def may_come_back(state: CollectionState, origin: Origin) -> bool:
    """Whether an ingestion might add the document again, as far as its source is known."""
    return origin.source is not None or bool(state.config.sources)


def deletion_of(origin: Origin) -> Deletion:
    return Deletion(
        document_id=origin.document_id,
        deleted_at=now_text("milliseconds"),
        source=origin.source,
        image=origin.image,
        version=origin.image_version,
    )


def document_json(service: Service, collection: str, document: FoundDocument) -> dict[str, Any]:
    """What the API tells about a document."""
    origin = document.origin
    base = (service.config.http.public_url or "").rstrip("/")
    told: dict[str, Any] = {
        "document_id": origin.document_id,
        "collection": collection,
        "metadata": document.metadata,
        "image_url": base + image_path(collection, origin.document_id),
        "thumbnail_url": base + thumbnail_path(collection, origin.document_id),
    }
    for name in _TOLD:
        value = getattr(origin, name)
        if value is not None:
            told[name] = value
    if document.vector is not None:
        told["vector"] = document.vector.tolist()
    return told


_TOLD = (
    "source",
    "duplicate_of",
    "sha256",
    "width",
    "height",
    "format",
    "bytes",
    "created_at",
    "updated_at",
)
