"""Documents that a new index would leave behind in another index of the same collection.

Each model of a collection has an index of its own. Sources fill a new one again, but what was
uploaded, or came from a source that is no longer declared, is only in the former index, and would
disappear from every answer without notice. So no new index is created while an index of the same
collection holds such documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lookalike_crds.config import CollectionConfig
from lookalike_crds.image_collection import Engine
from lookalike_crds.naming import may_be_index_of
from lookalike_serving.index.edge_folder import Manifest
from lookalike_serving.index.protocol import Index, IndexMismatch
from lookalike_serving.indexes.left_behind import count_in_folder, manifest_of, only_here
from lookalike_serving.machine.edge_places import MANIFEST, indexes_of

_LOCK_WAIT_SECONDS = 10.0


async def check_nothing_left(
    collection: CollectionConfig, data_dir: Path, beside: Mapping[Path, Index] | None = None
) -> None:
    """Raises IndexMismatch if making the collection's index would leave documents behind.

    Only checks if the collection has no index of its model yet. `beside`: Edge indexes, by folder,
    that this process has open. Raises IndexUnavailable if another process keeps an index of the
    collection open, or a server does not answer.
    """
    path = collection.index.path
    if path is not None and (path / MANIFEST).exists():
        return
    on_server = await _counts_on_server(collection)
    if on_server is None:
        return
    for index, lost in [
        *on_server.items(),
        *(await _counts_in_folders(collection, data_dir, beside or {})),
    ]:
        if lost:
            raise _would_lose(collection, lost, index, data_dir)


async def _counts_in_folders(
    collection: CollectionConfig, data_dir: Path, beside: Mapping[Path, Index]
) -> list[tuple[str, int]]:
    """The Edge indexes of the collection, each with the number of documents that would be lost."""
    filters = (only_here(collection.sources),)
    found = []
    for folder, manifest in _others(collection, collection.index.path, data_dir):
        if folder in beside:
            found.append((folder.name, await beside[folder].count(filters[0])))
            continue
        [lost] = await count_in_folder(
            folder,
            manifest,
            filters,
            lock_wait_seconds=_LOCK_WAIT_SECONDS,
            owner=collection.index.owner,
        )
        found.append((folder.name, lost))
    return found


async def _counts_on_server(collection: CollectionConfig) -> dict[str, int] | None:
    """The documents that would be lost, by index on the server; None if its own index exists.

    On one machine only: on a cluster the operator asks before it starts a pod.
    """
    from lookalike_serving.index.qdrant_connection import connection_of
    from lookalike_serving.index.qdrant_stock import count, stored_indexes

    name, index, owner = collection.name, collection.index, collection.index.owner
    if index.engine is not Engine.QDRANT or owner is None or owner.namespace:
        return {}

    def worth_asking(each: str) -> bool:
        return may_be_index_of(each, name) or may_be_index_of(each, name, owner.cluster)

    filter = only_here(collection.sources)
    async with connection_of(index) as connection:
        found = await stored_indexes(connection, worth_asking)
        ours = [each for each in found if each.owner is not None and each.owner.is_same(owner)]
        if any(each.name in (index.name, index.adopts) for each in ours):
            return None
        return {each.name: await count(connection, each.name, filter) for each in ours}


def _would_lose(
    collection: CollectionConfig, lost: int, index: str, data_dir: Path
) -> IndexMismatch:
    return IndexMismatch(
        f"{lost} documents of collection {collection.name} that no source can bring again "
        f"(uploads, or of a source that is no longer declared) are in the index of another model, "
        f"{index}, and would no longer be found: set spec.model back, and give the new model a "
        "second collection to upload to; or, to give those documents up, "
        f"{_command(collection, data_dir)} --drop {index} --yes"
    )


def _command(collection: CollectionConfig, data_dir: Path) -> str:
    owner = collection.index.owner
    if owner is not None and owner.namespace:
        return "in this pod, lookalike gc --config FILE (its ServingConfig)"
    return f"lookalike gc --data-dir {data_dir}"


def _others(
    collection: CollectionConfig, path: Path | None, data_dir: Path
) -> list[tuple[Path, Manifest]]:
    """The collection's other Edge indexes, by the owner that each of them records.

    An index of an early release records none; its name says whose it is.
    """
    owner = collection.index.owner
    place = indexes_of(data_dir) if path is None else path.parent
    found = []
    for file in sorted(place.glob(f"*/{MANIFEST}")):
        folder, manifest = file.parent, manifest_of(file.parent)
        if owner is None or manifest is None or manifest.dimension is None or folder == path:
            continue  # an index that cannot be read is reported when it is opened
        if manifest.owner is None:
            is_ours = may_be_index_of(folder.name, collection.name)
        else:
            is_ours = manifest.owner.is_same(owner)
        if is_ours:
            found.append((folder, manifest))
    return found
