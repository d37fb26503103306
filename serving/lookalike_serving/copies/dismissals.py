"""What a person has said: these two documents are not duplicates.

A dismissal is about two pictures. It holds, whatever model or sensitivity finds them alike, until
the image of one of the documents is another one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass

from lookalike_serving.books.record import Kind, Scope
from lookalike_serving.books.store import records_of
from lookalike_serving.documents.layout import Origin
from lookalike_serving.index.protocol import Point, PointStore
from lookalike_serving.service import Service


@dataclass(frozen=True, slots=True)
class Dismissal:
    documents: tuple[str, str]
    """Ids, in order."""
    images: tuple[str, str]
    """`image_of` each, when it was said."""
    dismissed_at: str
    """RFC 3339, UTC."""


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
        await self._index().upsert([Point(self._id(*dismissal.documents), None, payload)])

    async def lift(self, one: str, other: str) -> bool:
        """Whether there was one for these documents."""
        id = self._id(*sorted((one, other)))
        there = await self._index().retrieve([id], with_payload=False)
        await self._index().delete([id])
        return bool(there)

    async def all(self) -> AsyncIterator[Dismissal]:
        async for _, payload in records_of(self._index(), self._scope, Kind.DISMISSAL):
            told = json.loads(payload["dismissal"])
            (a, b), (one, other) = told["documents"], told["images"]
            yield Dismissal((a, b), (one, other), told["dismissed_at"])

    def _id(self, one: str, other: str) -> str:
        return self._scope.id(Kind.DISMISSAL, one, other)


async def dismissals_of(service: Service, collection: str) -> Dismissals:
    """Raises Problem 404 or 503."""
    config = service.collection(collection).config
    await service.books(collection)  # opens the place where the records are
    return Dismissals(lambda: service.books_index(config), Scope.of(config))
