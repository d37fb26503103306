"""Carries over, in the serving process, what was stored while ingestion filled another index.

Ingestion carries what it finds when it looks. Uploads, changes and deletions that arrive later are
few: this process has both indexes and the new model open, and does the rest when the new index is
about to answer.
"""

from __future__ import annotations

import logging

from lookalike_serving.books.record import KeptFeatures
from lookalike_serving.documents.build import Kept
from lookalike_serving.documents.carrying import Behind, behind, carried, gone
from lookalike_serving.documents.layout import split
from lookalike_serving.documents.replaced import releasing
from lookalike_serving.images import ImageError
from lookalike_serving.images.holders import holder_of
from lookalike_serving.index.protocol import IndexFailure, IndexRefused, Record
from lookalike_serving.problems import Problem
from lookalike_serving.service import CollectionState, Service

_ROUNDS = 5
"""Each is shorter than the one before; what arrives in the last is taken after the switch."""

log = logging.getLogger("lookalike.service")


class CatchingUp:
    """From the index that answers into the one that is to."""

    def __init__(self, service: Service, before: CollectionState, after: CollectionState) -> None:
        self._service = service
        self._before = before
        self._after = after
        self._index = releasing(after, service.images)
        self._lost: dict[str, str] = {}
        """Documents that cannot be embedded again, by point."""

    async def until_level(self, since: str) -> list[str]:
        """Before the switch. The ids of documents that cannot be embedded by the new model.

        Raises IndexFailure, ModelError, Overloaded.
        """
        for _ in range(_ROUNDS):
            deleted = await self._drop_deleted()
            if not await self._carry(since) and not deleted:
                break
        return list(self._lost.values())

    async def what_arrived(self, since: str) -> list[str]:
        """After the switch: the new index has documents of its own by now."""
        await self._carry(since)
        return list(self._lost.values())

    async def _carry(self, since: str) -> int:
        """How many documents were carried over."""
        done = 0
        async for page in behind(self._before.index, self._index, since):
            done += await self._take(page)
        return done

    async def _take(self, page: Behind) -> int:
        done = 0
        for record in page.payloads:
            await self._index.replace_payload(record.id, record.payload)
            done += 1
        for record in page.images:
            if record.id not in self._lost:
                done += await self._embed(record)
        return done

    async def _embed(self, record: Record) -> bool:
        service, origin = self._service, split(record.payload)[1]
        holder = holder_of(self._after.config.index.name, record.id)
        try:
            data = await service.images.held(origin.image, holder)
            point, seen = await carried(
                record,
                data,
                self._after.embedder,
                copier=self._after.copier,
                kept=Kept.by(self._after.config.duplicates),
                max_pixels=service.config.fetch.max_pixels,
            )
            if seen.features is not None:
                books = await service.books(self._after.name)
                kept = KeptFeatures(seen.file.sha256, seen.features)
                await books.note_features({point.id: kept})
            await self._index.upsert([point])
        except (ImageError, IndexRefused) as failure:
            name = origin.document_id
            log.error("document %s of %s is left behind: %s", name, self._after.name, failure)
            self._lost[record.id] = name
            return False
        return True

    async def _drop_deleted(self) -> int:
        """Delete from the new index what has been deleted from the former one."""
        try:
            books = await self._service.books(self._after.name)
        except (Problem, IndexFailure) as failure:
            log.error("deletions of %s are not known: %s", self._after.name, failure)
            return 0
        done = 0
        sources = self._after.config.sources or ()
        async for ids in gone(self._before.index, self._index, sources, books.deletions_of):
            await self._index.delete(ids)
            done += len(ids)
        return done
