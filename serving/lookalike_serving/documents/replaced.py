"""An index as ingestion writes it: documents that are replaced or deleted release their images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from lookalike_serving.documents.layout import RESERVED, split
from lookalike_serving.images import ImageStore
from lookalike_serving.images.holders import holder_of
from lookalike_serving.index.protocol import Index, Point
from lookalike_serving.service import CollectionState


class _Releasing:
    """The rest of an `Index` is the index's own."""

    def __init__(self, state: CollectionState, images: ImageStore) -> None:
        self._index = state.index
        self._hashes = state.hashes
        self._name = state.config.index.name
        self._images = images

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    async def upsert(self, points: Sequence[Point]) -> None:
        before = await self._addresses([point.id for point in points])
        await self._index.upsert(points)
        self._hashes.note(points)
        now = {point.id: _address(point.payload) for point in points}
        await self._release({id: uri for id, uri in before.items() if uri != now.get(id)})

    async def delete(self, ids: Sequence[str]) -> None:
        before = await self._addresses(ids)
        await self._index.delete(ids)
        await self._release(before)

    async def _addresses(self, ids: Sequence[str]) -> dict[str, str]:
        """The images of those points that exist."""
        records = await self._index.retrieve(ids, with_payload=(RESERVED,))
        found = {record.id: _address(record.payload) for record in records}
        return {id: uri for id, uri in found.items() if uri is not None}

    async def _release(self, addresses: dict[str, str]) -> None:
        for id, uri in addresses.items():
            await self._images.release(uri, holder_of(self._name, id))


def releasing(state: CollectionState, images: ImageStore) -> Index:
    """The collection's index; images of documents that a write replaces or deletes go."""
    return cast(Index, _Releasing(state, images))


def _address(payload: dict[str, Any]) -> str | None:
    return split(payload)[1].image if RESERVED in payload else None
