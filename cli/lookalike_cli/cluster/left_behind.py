"""`lookalike gc --qdrant-url`: what the collections of a cluster left on their Qdrant server.

The cluster says which indexes are in use, the server which there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.indexes.left_behind import Kept, LeftBehind, check_droppable, only_here

if TYPE_CHECKING:
    from lookalike_operator.cluster import Cluster
    from lookalike_operator.plan.left_behind import Known, Unused
    from lookalike_serving.index.qdrant_connection import Connection
    from lookalike_serving.index.qdrant_stock import StoredIndex


@dataclass(frozen=True, slots=True)
class OnServer:
    """A cluster's indexes on one server."""

    cluster: Cluster
    connection: Connection

    async def found(self) -> list[LeftBehind]:
        """Counted, by name. Raises ApiError, IndexFailure."""
        return [await self._counted(stored, unused) for stored, unused in await self._left_behind()]

    async def drop(self, index: LeftBehind, *, with_documents: bool) -> None:
        """Raises Kept, ApiError, IndexFailure."""
        from lookalike_serving.index.qdrant_stock import drop

        check_droppable(index, with_documents=with_documents)
        # What is in use may have changed since.
        for stored, _ in await self._left_behind():
            if stored.name == index.name:
                await drop(self.connection, stored)
                return
        raise Kept(f"index {index.name} is in use, or has been deleted")

    def unknown(self, name: str, found: list[LeftBehind]) -> str:
        names = ", ".join(each.name for each in found) or "none"
        return (
            f"{self.connection.where} has no unused index {name!r} of this cluster (there are: "
            f"{names}): indexes that are in use or belong to others are never deleted"
        )

    async def _left_behind(self) -> list[tuple[StoredIndex, Unused]]:
        from lookalike_operator.plan.left_behind import left_behind
        from lookalike_serving.index.qdrant_stock import stored_indexes

        stored = {each.name: each for each in await stored_indexes(self.connection)}
        # Asked afterwards: a collection that is created in between is known, and its index is not
        # listed.
        known = await _known(self.cluster)
        unused = left_behind(known, ((each.name, each.owner) for each in stored.values()))
        return [(stored[each.name], each) for each in unused]

    async def _counted(self, stored: StoredIndex, unused: Unused) -> LeftBehind:
        from lookalike_serving.index.qdrant_stock import count

        owner = unused.owner
        found = LeftBehind(
            stored.name,
            self.connection.where,
            f"{owner.namespace}/{owner.name}",
            stored.model,
            documents=stored.points,
        )
        try:
            lost = await count(self.connection, stored.name, only_here(unused.sources))
        except IndexFailure as failure:
            return replace(found, problem=str(failure))
        return replace(found, only_here=lost)


async def _known(cluster: Cluster) -> Known:
    from lookalike_operator.kinds import IMAGE_COLLECTION, RETRIEVER
    from lookalike_operator.observe.resources import (
        collection_status,
        meta_of,
        parsed_collection,
    )
    from lookalike_operator.plan.left_behind import Known

    collections = (await cluster.list(IMAGE_COLLECTION, None)).items
    retrievers = (await cluster.list(RETRIEVER, None)).items
    return Known(
        cluster.identity,
        tuple(
            (meta_of(live), parsed_collection(live)[0], collection_status(live))
            for live in collections
        ),
        frozenset(live["metadata"]["namespace"] for live in retrievers),
    )
