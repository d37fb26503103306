"""Reads the documents of a scan, a page at a time: their hashes, and their neighbours by embedding.

What is stored with a document is enough, if the collection keeps hashes. Only the images of
documents without hashes are read and decoded here. If there is an earlier scan, only the ids of all
documents are read, and the payloads of those that were written since.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lookalike_crds.image_collection import Distance
from lookalike_serving.copies.dismissals import image_of
from lookalike_serving.documents.layout import RESERVED
from lookalike_serving.documents.stored import read_record
from lookalike_serving.duplicates.hashes import Hashes
from lookalike_serving.duplicates.verdicts import Sensitivity
from lookalike_serving.images import ImageError
from lookalike_serving.index.facets import value_at
from lookalike_serving.index.filters.ranges import Bound
from lookalike_serving.index.filters.tree import And, Filter, Not
from lookalike_serving.index.protocol import Index, Record
from lookalike_serving.scans.apply import version_of
from lookalike_serving.scans.candidates import nearest_from
from lookalike_serving.scans.earlier import EarlierScan, Known
from lookalike_serving.scans.pictures import Pictures
from lookalike_serving.scans.record import PAGE, PICTURES, Order, Page, Scanned
from lookalike_serving.service import CollectionState

log = logging.getLogger("lookalike.scans")

NEIGHBOURS = {Sensitivity.STRICT: 3, Sensitivity.BALANCED: 4, Sensitivity.LOOSE: 8}
"""By embedding. A group of more documents hangs together all the same, and its members are compared
with the keeper in the end."""
_SAMPLE = 512
"""Documents from which it is estimated how near different pictures are."""
_WRITTEN = 2000
"""Ids that are read at once."""


class Reading:
    """Of the documents of one scan that match its filters."""

    def __init__(
        self,
        order: Order,
        state: CollectionState,
        tree: Filter | None,
        earlier: EarlierScan,
        pictures: Pictures,
    ) -> None:
        self._order = order
        self._state = state
        self._tree = tree
        self._earlier = earlier
        self._pictures = pictures
        self._most = NEIGHBOURS[order.sensitivity]
        field = order.keep.looks_at
        self._wanted = (RESERVED, field) if field else (RESERVED,)
        self._written: set[str] | None = None
        """Points that were written since the earlier scan; None: all may have been."""

    @property
    def _index(self) -> Index:
        return self._state.index

    async def open(self) -> None:
        """To be called once the earlier scan is open. Raises IndexFailure."""
        since = self._earlier.since
        if since is None:
            return
        # Also those without a time, should another program have written some.
        later: Filter = Not((Bound(f"{RESERVED}.updated_at", "lt", since),))
        tree = later if self._tree is None else And((self._tree, later))
        written: set[str] = set()
        after: str | None = None
        while True:
            page = await self._index.scroll(
                filter=tree, limit=_WRITTEN, after=after, with_payload=False
            )
            written.update(record.id for record in page.records)
            after = page.next
            if after is None:
                break
        self._written = written

    async def nearest_from(self, documents: int) -> float | None:
        """The score from which neighbours are candidates, estimated from the first documents: ids
        are hashes, so these are a sample. Raises IndexFailure."""
        sample = await self._index.scroll(
            filter=self._tree, limit=_SAMPLE, with_payload=False, with_vector=True
        )
        state = self._state
        vectors = [v for each in sample.records if (v := state.found_by(each)) is not None]
        distance = state.config.vector.distance if state.copier is None else Distance.COSINE
        return nearest_from(vectors, distance, documents, self._most)

    async def page(self, after: str | None, first: int, nearest: float | None) -> Page:
        """The documents that follow `after`, the first of them with the number `first`.

        Raises IndexFailure.
        """
        hashed = self._state.config.duplicates is not None
        found = await self._index.scroll(
            filter=self._tree,
            limit=PAGE if hashed else PICTURES,
            after=after,
            with_payload=self._wanted if self._written is None else False,
        )
        documents: list[Scanned] = []
        fresh: list[int] = []
        for scanned, known in await self._seen(found.records):
            number = first + len(documents)
            if known is not None and (scanned is None or scanned.version == known.document.version):
                self._earlier.keep(known, number)
                documents.append(known.document)
            elif scanned is not None:
                fresh.append(len(documents))
                documents.append(await self._with_hashes(scanned))
        near = await self._near([(first + at, documents[at].point) for at in fresh], nearest)
        return Page(tuple(documents), tuple(fresh), near, found.next)

    async def _seen(self, records: Sequence[Record]) -> list[tuple[Scanned | None, Known | None]]:
        """Of each: what is stored now, and what the earlier scan saw. What is stored was not read
        if it cannot have changed; neither is there for what is no document."""
        known = await self._earlier.find([record.id for record in records])
        if self._written is not None:
            wanted = [
                record.id
                for record, there in zip(records, known, strict=True)
                if there is None or record.id in self._written
            ]
            read = await self._index.retrieve(wanted, with_payload=self._wanted) if wanted else []
            stored = {each.id: self._scanned(each) for each in read}
        else:
            stored = {each.id: self._scanned(each) for each in records}
        return [
            (stored.get(record.id), there) for record, there in zip(records, known, strict=True)
        ]

    async def _with_hashes(self, document: Scanned) -> Scanned:
        if Hashes.read(document.hashes) is not None:
            return document
        try:
            picture = await self._pictures.picture(document)
        except ImageError as error:
            log.info("%s of a scan cannot be read: %s", document.document_id, error)
            return document._replace(hashes=None)
        return document._replace(
            hashes=picture.hashes.stored(), width=picture.width, height=picture.height
        )

    async def _near(
        self, asked: Sequence[tuple[int, str]], nearest: float | None
    ) -> tuple[tuple[int, str], ...]:
        """(number, point id of a neighbour)"""
        if not asked:
            return ()
        numbers = {point: number for number, point in asked}
        records = await self._index.retrieve([*numbers], with_payload=False, with_vector=True)
        state = self._state
        there = [
            (each.id, vector) for each in records if (vector := state.found_by(each)) is not None
        ]
        queries = [
            state.near(vector, self._most + 1, self._tree, min_score=nearest) for _, vector in there
        ]
        found = await self._index.query_batch(queries) if queries else []
        return tuple(
            (numbers[id], hit.id)
            for (id, _), hits in zip(there, found, strict=True)
            for hit in hits
            if hit.id != id
        )

    def _scanned(self, record: Record) -> Scanned | None:
        """None for what is no document."""
        found = read_record(record)
        if found is None:
            return None
        origin, field = found.origin, self._order.keep.looks_at
        value = _value(found.metadata, field) if field else None
        return Scanned(
            point=record.id,
            document_id=origin.document_id,
            version=version_of(origin),
            image=origin.image,
            picture=image_of(origin),
            width=origin.width or 0,
            height=origin.height or 0,
            bytes=origin.bytes or 0,
            created_at=origin.created_at or "",
            value=value,
            hashes=origin.copies,
            features=origin.features is not None,
        )


def _value(metadata: dict[str, Any], field: str) -> Any:
    found = value_at(metadata, field)
    return found if isinstance(found, bool | int | float | str) else None
