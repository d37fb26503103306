"""What a person has said: these two documents are not duplicates, or: this document is no copy of
that picture, which is no document.

A dismissal is about two pictures. It holds, whatever model or sensitivity finds them alike, until
the image of one of the documents is another one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lookalike_crds.moments import now_text
from lookalike_serving.books.record import Kind, Scope
from lookalike_serving.books.store import records_of
from lookalike_serving.documents.layout import Origin
from lookalike_serving.documents.stored import find_document
from lookalike_serving.index.protocol import Point, PointStore
from lookalike_serving.service import Service


@dataclass(frozen=True, slots=True)
class Dismissal:
    documents: tuple[str, ...]
    """Ids, in order: two, or one and a picture."""
    images: tuple[str, ...]
    """`image_of` each, when it was said."""
    dismissed_at: str
    """RFC 3339, UTC."""
    content_hash: str | None = None
    """The picture's, in hexadecimal digits; None between two documents."""


def image_of(origin: Origin) -> str:
    """What stays the same for as long as the document has the same image."""
    return origin.sha256 or origin.fingerprint or origin.image


class Dismissals:
    """Of one collection, next to its other records. Every write may be repeated.

    `index` is asked for at each use, since it may open late. Raises IndexFailure, and what `index`
    raises.
    """

    def __init__(self, index: Callable[[], PointStore], scope: Scope) -> None:
        self._index = index
        self._scope = scope

    async def note(self, dismissal: Dismissal) -> None:
        payload = {"dismissal": json.dumps(asdict(dismissal))}
        id = self._id(dismissal.documents, dismissal.content_hash)
        await self._index().upsert([Point(id, None, payload)])
        # Images that were left out as copies of these documents are looked at again.
        again = [
            id
            async for id, told in records_of(self._index(), self._scope, Kind.REJECTION)
            if told["document"] in dismissal.documents
        ]
        if again:
            await self._index().delete(again)

    async def lift(self, documents: Sequence[str], content_hash: str | None = None) -> bool:
        """Whether there was one for these documents, or for this one and the picture."""
        id = self._id(documents, content_hash)
        there = await self._index().retrieve([id], with_payload=False)
        await self._index().delete([id])
        return bool(there)

    async def all(self) -> AsyncIterator[Dismissal]:
        async for _, payload in records_of(self._index(), self._scope, Kind.DISMISSAL):
            yield _read(payload)

    async def among(
        self, pairs: Sequence[Sequence[tuple[str, str]]]
    ) -> list[list[tuple[str, str]]]:
        """Those of these pairs of documents of which it was said, and still holds, that they are no
        duplicates. Each document: its id, and `image_of` it."""
        asked = {self._id([id for id, _ in pair], None): list(pair) for pair in pairs}
        found = await self._index().retrieve(list(asked)) if asked else []
        return [
            pair
            for pair, record in ((asked[each.id], each) for each in found)
            if _read(record.payload).images == tuple(image for _, image in sorted(pair))
        ]

    async def dismissed(
        self, content_hash: str, candidates: Sequence[Origin], same: Sequence[Origin] = ()
    ) -> set[str]:
        """Ids of the candidates of which it was said, and still holds, that they are no copies of
        this picture, or of one of the documents that are the `same` picture."""
        asked: dict[str, tuple[Origin, ...]] = {}
        for candidate in candidates:
            asked[self._id((candidate.document_id,), content_hash)] = (candidate,)
            for each in same:
                if each.document_id != candidate.document_id:
                    pair = sorted((candidate, each), key=lambda origin: origin.document_id)
                    asked[self._id([one.document_id for one in pair], None)] = tuple(pair)
        if not asked:
            return set()
        known = {each.document_id for each in same}
        found: set[str] = set()
        for record in await self._index().retrieve(list(asked)):
            about = asked[record.id]
            if _read(record.payload).images == tuple(image_of(each) for each in about):
                found.update({each.document_id for each in about} - known)
        return found

    def _id(self, documents: Sequence[str], content_hash: str | None) -> str:
        named = sorted(documents)
        if content_hash is not None:
            named += ["", content_hash]  # no document has an empty id
        return self._scope.id(Kind.DISMISSAL, *named)


def _read(payload: dict[str, Any]) -> Dismissal:
    told = json.loads(payload["dismissal"])
    return Dismissal(
        tuple(told["documents"]),
        tuple(told["images"]),
        told["dismissed_at"],
        told.get("content_hash"),
    )


async def dismiss(
    service: Service, collection: str, documents: Sequence[str], content_hash: str | None = None
) -> Dismissal:
    """Say that two documents are not duplicates, or that one is no copy of a picture. Raises
    Problem 404 if a document is not there, or 503, and IndexFailure."""
    named = sorted(documents)
    found = [await find_document(service, collection, id) for id in named]
    images = tuple(image_of(each.origin) for each in found)
    dismissal = Dismissal(tuple(named), images, now_text("milliseconds"), content_hash)
    await (await dismissals_of(service, collection)).note(dismissal)
    return dismissal


async def dismissals_of(service: Service, collection: str) -> Dismissals:
    """Raises Problem 404 or 503."""
    config = service.collection(collection).config
    await service.books(collection)  # opens the place where the records are
    return Dismissals(lambda: service.books_index(config), Scope.of(config))
