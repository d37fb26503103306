"""The indexes of Lookalike on a Qdrant server: which exist, who owns them, and how to delete
one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from grpc.aio import AioRpcError  # type: ignore[import-untyped]
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from lookalike_crds.ownership import IndexOwner, owner_in
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import IndexMismatch
from lookalike_serving.index.qdrant_collection import METADATA
from lookalike_serving.index.qdrant_connection import Connection
from lookalike_serving.index.qdrant_filters import compile_filter

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """One collection of the server that Lookalike made."""

    name: str
    owner: IndexOwner | None
    model: str | None
    points: int


async def stored_indexes(
    connection: Connection, worth_asking: Callable[[str], bool] = lambda name: True
) -> list[StoredIndex]:
    """Those whose names are worth asking about: one call for each. Raises IndexFailure."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(client: AsyncQdrantClient, name: str) -> StoredIndex | None:
        async with turns:
            return await _stored(client, name)

    async def all_of_them(client: AsyncQdrantClient) -> list[StoredIndex]:
        listed = (await client.get_collections()).collections
        names = sorted(each.name for each in listed if worth_asking(each.name))
        found = await asyncio.gather(*(one(client, name) for name in names))
        return [each for each in found if each is not None]

    return await connection.call("listing collections", all_of_them)


async def count(connection: Connection, name: str, filter: Filter | None) -> int:
    """Documents that meet the filter. Raises IndexFailure."""
    compiled = compile_filter(filter, ())
    answer = await connection.call(
        f"counting in collection {name}",
        lambda client: client.count(name, count_filter=compiled, exact=True),
    )
    return answer.count


async def drop(connection: Connection, index: StoredIndex) -> None:
    """Delete an index, unless its owner has changed since. Raises IndexFailure."""

    async def delete(client: AsyncQdrantClient) -> None:
        now = await _stored(client, index.name)
        if now is not None and now.owner != index.owner:
            raise IndexMismatch(
                f"collection {index.name} now belongs to {now.owner} and is not deleted"
            )
        await client.delete_collection(index.name)

    await connection.call(f"deleting collection {index.name}", delete)


async def _stored(client: AsyncQdrantClient, name: str) -> StoredIndex | None:
    """None if there is no such collection, or somebody else's software made it."""
    try:
        info: models.CollectionInfo = await client.get_collection(name)
    except (AioRpcError, UnexpectedResponse, ValueError):
        # It may have gone since it was listed; whatever else failed is reported.
        if await client.collection_exists(name):
            raise
        return None
    made_for: Any = (info.config.metadata or {}).get(METADATA)
    if not isinstance(made_for, dict):
        return None
    model = made_for.get("model")
    return StoredIndex(
        name, owner_in(made_for), None if model is None else str(model), info.points_count or 0
    )
