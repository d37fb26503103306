"""Stores a document unless the collection has its picture already, if the caller asks for that.

    on_duplicate: allow     stored as it is; nothing is compared
                  link      stored, and says of which document it is a copy
                  reject    refused (409), with the document that is there

A copy is what the collection's sensitivity calls one. Uploads that ask for link or reject take
turns in this process, so that of two copies that arrive together only one is the first.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Any

from lookalike_crds.failures import DUPLICATE
from lookalike_crds.image_collection import DuplicatesSpec
from lookalike_serving.copies.find import Match, find_copies
from lookalike_serving.documents import ids
from lookalike_serving.documents.layout import payload, split
from lookalike_serving.documents.replaced import releasing
from lookalike_serving.documents.upload import StoredDocument, store_document
from lookalike_serving.duplicates.verdicts import Sensitivity
from lookalike_serving.images import ImageFile
from lookalike_serving.index.protocol import Decision, Point
from lookalike_serving.problems import Problem
from lookalike_serving.service import CollectionState, Service


class OnDuplicate(StrEnum):
    ALLOW = "allow"
    LINK = "link"
    REJECT = "reject"


def sensitivity_of(spec: DuplicatesSpec | None) -> Sensitivity:
    """What a collection calls a copy, unless a request says otherwise."""
    return Sensitivity.BALANCED if spec is None else Sensitivity(spec.sensitivity.value.lower())


async def store_checked(
    service: Service,
    collection: str,
    image: ImageFile,
    metadata: dict[str, Any],
    document_id: str | None = None,
    *,
    only_new: bool = False,
    on_duplicate: OnDuplicate = OnDuplicate.ALLOW,
) -> StoredDocument:
    """As `store_document`, after a look at what is there. Raises Problem 409 if it is refused."""
    if on_duplicate is OnDuplicate.ALLOW:
        return await store_document(
            service, collection, image, metadata, document_id, only_new=only_new
        )
    state = service.collection(collection)
    own = ids.generated(image.sha256) if document_id is None else ids.asked(document_id)
    async with state.hashes.deciding:
        found = await find_copies(
            service,
            collection,
            image.data,
            sensitivity=sensitivity_of(state.config.duplicates),
            top_k=1,
            similar=False,
            but=ids.point_id(state.name, own),
        )
        first = found.matches[0] if found.matches else None
        if first is not None and on_duplicate is OnDuplicate.REJECT:
            raise Problem(DUPLICATE, _told(state.name, first))
        return await store_document(
            service,
            collection,
            image,
            metadata,
            document_id,
            only_new=only_new,
            duplicate_of=None if first is None else first.document.origin.document_id,
        )


async def write_checked(
    service: Service, state: CollectionState, point: Point, image: bytes, *, reject: bool
) -> Decision:
    """Write a document that ingestion brings, after a look at what is there: by the rule of
    uploads, and taking turns with them.

    `point`: as it is to be written, with its vectors. `reject`: a copy is not written. Raises what
    `find_copies` does, and IndexFailure.
    """
    async with state.hashes.deciding:
        found = await find_copies(
            service,
            state.name,
            image,
            sensitivity=sensitivity_of(state.config.duplicates),
            top_k=1,
            similar=False,
            but=point.id,
            within=state,
            vector=point.vector if state.copier is None else point.copies,
        )
        first = found.matches[0].document.origin.document_id if found.matches else None
        if first is not None and reject:
            return Decision(first, written=False)
        if first is not None:
            metadata, origin = split(point.payload)
            linked = payload(metadata, replace(origin, duplicate_of=first))
            point = replace(point, payload=linked)
        await releasing(state, service.images).upsert([point])
        return Decision(first)


def _told(collection: str, match: Match) -> str:
    verdict = match.comparison.verdict
    what = "the same picture" if match.comparison.exact else "a copy"
    return (
        f"Collection {collection!r} has this picture already: document "
        f"{match.document.origin.document_id!r} is {what} (verdict {verdict}, confidence "
        f"{match.comparison.confidence:.2f}). Use that document, or send on_duplicate: link to "
        "store this one as a copy of it."
    )
