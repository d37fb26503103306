"""Indexes that no configured collection uses any more: found, counted, dropped.

A change of the model creates another index, and the former one stays: next to it in the data
folder, or on the Qdrant server. So does the index of a collection that is removed from the files.
None is deleted automatically, because it may hold documents that exist nowhere else: those that
were uploaded, or that came from a source that is no longer declared.

A running server holds the locks of the indexes that it uses, and no others. So all of this is safe
while a server runs: its configuration and its locks protect what is in use.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from lookalike_crds.config import CollectionConfig, IndexConfig, ServingConfig
from lookalike_crds.image_collection import Engine, VectorSpec
from lookalike_crds.naming import may_be_index_of
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.payload_indexes import RESERVED
from lookalike_serving.images.holders import release_index
from lookalike_serving.index.edge_folder import EdgeFolder, Manifest
from lookalike_serving.index.filters.equality import OneOf
from lookalike_serving.index.filters.presence import Exists
from lookalike_serving.index.filters.tree import Filter, Not
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.indexes.remembered import forget
from lookalike_serving.indexes.removed import Removed, note
from lookalike_serving.machine.disk import size_on_disk
from lookalike_serving.machine.edge_places import MANIFEST, unused_folders

if TYPE_CHECKING:
    from lookalike_serving.index.qdrant_connection import Connection
    from lookalike_serving.index.qdrant_stock import StoredIndex

log = logging.getLogger("lookalike.service")

_SOURCE = f"{RESERVED}.source"


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """One index that nothing uses."""

    name: str
    place: str
    """Its folder, or the address of its Qdrant server."""
    collection: str | None
    """The collection that it belonged to; None if that is not known."""
    model: str | None = None
    documents: int | None = None
    """None if they could not be counted; `problem` says why."""
    only_here: int | None = None
    """Documents that no source of the configuration can provide again."""
    bytes: int | None = None
    """On disk; None if the server does not report it."""
    problem: str | None = None
    anothers: str | None = None
    """Its owner, if that is not this configuration."""


class Kept(Exception):
    """An index was not dropped. The message says why, and what to do."""


def only_here(sources: tuple[str, ...] | None) -> Filter | None:
    """Matches the documents that none of the sources can provide again; None matches all.

    If the sources are not known, these are the uploads.
    """
    if sources is None:
        return Not((Exists(_SOURCE),))
    return Not((OneOf(_SOURCE, sources),)) if sources else None


async def left_behind(config: ServingConfig) -> list[LeftBehind]:
    """All unused indexes with their documents counted, ordered by name.

    Raises IndexFailure if a server cannot be asked.
    """
    found = [await _counted_folder(config, folder) for folder in unused_folders(config)]
    for server in _servers(config):
        async with _connected(server) as connection:
            for stored in await _unused_on(connection, config):
                counted = await _counted_on(connection, config, server, stored)
                found.append(counted)
    return sorted(found, key=lambda each: (each.name, each.place))


async def left_on_servers(config: ServingConfig) -> list[str]:
    """The names of those on Qdrant servers.

    Raises IndexFailure. Fast even if a server has many indexes: those of early releases, whose
    names do not begin with the id of the data folder, are left out.
    """
    found: list[str] = []
    for server in _servers(config):
        beginning = f"{server.owner.cluster}-" if server.owner is not None else ""
        async with _connected(server) as connection:
            found += [each.name for each in await _unused_on(connection, config, beginning)]
    return found


async def drop(
    index: LeftBehind, configuration: Callable[[], ServingConfig], *, with_documents: bool
) -> None:
    """Delete one of `left_behind` permanently, with the uploaded images that only it uses.

    `configuration` says what is in use now: it may have changed since the index was found. Raises
    Kept if it belongs to another configuration, or holds documents that nothing can provide again,
    unless `with_documents`; IndexFailure if it is open in a process, or the server refuses.
    """
    check_droppable(index, with_documents=with_documents)
    for server in _servers(configuration()):
        if _place_of(server) == index.place:
            await _drop_on(configuration(), server, index)
            return
    # From here on nobody opens it; a process that has been told to use it meanwhile creates it
    # again.
    folder = await EdgeFolder.acquire(Path(index.place), wait_seconds=0)
    config = configuration()
    if folder.path not in unused_folders(config):
        folder.release()
        raise Kept(f"index {index.name} is in use, or has been deleted")
    removed = await _last_of_collection(config, folder.path)
    if removed is not None:
        note(config.data_dir, removed)
    _drop_folder(folder, config, index.name)


async def remove_former(config: ServingConfig, index: IndexConfig) -> None:
    """Delete the Edge index of a former model, with the images that only it uses, if it is there.

    Raises Kept if the configuration uses it, IndexFailure if it is open in a process.
    """
    if index.path is None or not index.path.exists():
        return
    used = {each.index.path for each in (*config.collections, *config.filling)}
    if index.path in used:
        raise Kept(f"index {index.name} is in use")
    folder = await EdgeFolder.acquire(index.path, wait_seconds=0)
    _drop_folder(folder, config, index.name)
    log.info("index %s of a former model was deleted", index.name)


def _drop_folder(folder: EdgeFolder, config: ServingConfig, name: str) -> None:
    """Delete an Edge index, first what depends on it: if this is interrupted, the next attempt does
    it again."""
    release_index(config.data_dir / "images", name)
    forget(config.data_dir, name)
    folder.drop()


async def _last_of_collection(config: ServingConfig, folder: Path) -> Removed | None:
    """The collection of an unused Edge index, if it is removed and has no other index."""
    manifest = manifest_of(folder)
    if manifest is None or manifest.owner is None:
        return None  # of an early release, or damaged: it is not known whose it was
    owner = manifest.owner
    others = [each for each in unused_folders(config) if each != folder]
    if _is_configured(config, owner) or any(_may_be_of(each, owner) for each in others):
        return None
    if await _on_a_server(config, owner):
        return None
    return Removed(owner=owner, folder=folder)


def _is_configured(config: ServingConfig, owner: IndexOwner) -> bool:
    return any(each.name == owner.name for each in (*config.collections, *config.filling))


def _may_be_of(folder: Path, owner: IndexOwner) -> bool:
    manifest = manifest_of(folder)
    if manifest is None or manifest.owner is None:
        return may_be_index_of(folder.name, owner.name)
    return manifest.owner.is_same(owner)


async def _on_a_server(config: ServingConfig, owner: IndexOwner) -> bool:
    """Whether a Qdrant server has an index of this collection, or cannot be asked."""
    try:
        for server in _servers(config):
            async with _connected(server) as connection:
                stored = await _unused_on(connection, config)
            if any(each.owner is not None and each.owner.is_same(owner) for each in stored):
                return True
    except IndexFailure as failure:
        log.warning("the records of %s stay, as a server does not answer: %s", owner, failure)
        return True
    return False


def check_droppable(index: LeftBehind, *, with_documents: bool) -> None:
    """Raises Kept if it is another configuration's, or holds documents that nobody gave up."""
    if index.anothers is not None:
        raise Kept(f"index {index.name} belongs to {index.anothers} and is not deleted")
    if with_documents or index.only_here == 0:
        return
    if index.only_here is None:
        raise Kept(
            f"index {index.name} could not be counted ({index.problem}), and may hold documents "
            "that nothing can provide again: add --yes to delete it all the same"
        )
    raise Kept(
        f"index {index.name} holds {index.only_here} documents that no source of the "
        "configuration can provide again (uploads, or documents of a source that is no longer "
        "declared): add --yes to delete them"
    )


# -- Qdrant Edge -----------------------------------------------------------------------------------


def manifest_of(folder: Path) -> Manifest | None:
    """The manifest of the index; None if there is none that can be read."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


async def count_in_folder(
    folder: Path,
    manifest: Manifest,
    filters: tuple[Filter | None, ...],
    *,
    lock_wait_seconds: float,
    owner: IndexOwner | None = None,
) -> list[int]:
    """The number of documents that match each filter.

    Raises IndexFailure, also if the index is open. `owner` is written into an index that has none.
    """
    from lookalike_serving.index.edge import EdgeIndex

    vectors = {"distance": manifest.distance}
    index = await EdgeIndex.open(
        folder,
        vector=None if manifest.dimension is None else VectorSpec.model_validate(vectors),
        dimension=manifest.dimension,
        fingerprint=manifest.fingerprint,
        fields=None,
        owner=manifest.owner or owner,
        lock_wait_seconds=lock_wait_seconds,
    )
    try:
        return [await index.count(filter) for filter in filters]
    finally:
        await index.close()


async def _counted_folder(config: ServingConfig, folder: Path) -> LeftBehind:
    manifest = manifest_of(folder)
    owner = manifest.owner if manifest is not None else None
    collection = owner.name if owner is not None else _attributed(config, folder.name)
    found = LeftBehind(folder.name, str(folder), collection, bytes=size_on_disk(folder))
    if manifest is None:
        why = (
            f"{MANIFEST} is missing or cannot be read: the index was deleted in part, or is damaged"
        )
        return replace(found, problem=why)
    found = replace(found, model=manifest.model)
    if owner is not None and not _is_ours(config, owner):
        return replace(found, anothers=str(owner))
    known = _collection(config, collection)
    filters = (None, only_here(known.sources if known is not None else ()))
    try:
        documents, lost = await count_in_folder(
            folder,
            manifest,
            filters,
            lock_wait_seconds=0,
            owner=known.index.owner if known is not None else None,
        )
    except (IndexFailure, OSError) as failure:
        return replace(found, problem=str(failure))
    return replace(found, documents=documents, only_here=lost)


def _attributed(config: ServingConfig, name: str) -> str | None:
    """The collection of an index of an early release, which records no owner, by its name."""
    return next((c.name for c in config.collections if may_be_index_of(name, c.name)), None)


def _collection(config: ServingConfig, name: str | None) -> CollectionConfig | None:
    return next((each for each in config.collections if each.name == name), None)


def _is_ours(config: ServingConfig, owner: IndexOwner) -> bool:
    mine = [c.index.owner for c in config.collections if c.index.owner is not None]
    if owner.namespace:
        return any(owner.is_same(each) for each in mine)
    # On one machine: whatever the collection was called, it is of this data folder.
    return any(not each.namespace and each.cluster == owner.cluster for each in mine)


# -- Qdrant servers --------------------------------------------------------------------------------


def _servers(config: ServingConfig) -> list[IndexConfig]:
    """One index on each Qdrant server that the configuration names.

    Empty on a cluster, because there the configuration of one pod does not say which indexes others
    use.
    """
    found = {
        index.addresses: index
        for index in (each.index for each in config.collections)
        if index.engine is Engine.QDRANT and index.owner is not None and not index.owner.namespace
    }
    return list(found.values())


def _place_of(server: IndexConfig) -> str:
    return " or ".join(server.addresses)


def _connected(server: IndexConfig) -> AbstractAsyncContextManager[Connection]:
    from lookalike_serving.index.qdrant_connection import connection_of

    return connection_of(server)


async def _unused_on(
    connection: Connection, config: ServingConfig, beginning: str = ""
) -> list[StoredIndex]:
    """Those of this data folder. Indexes of others are not even listed."""
    from lookalike_serving.index.qdrant_stock import stored_indexes

    collections = (*config.collections, *config.filling)
    used = {name for each in collections for name in (each.index.name, each.index.adopts)}
    return [
        stored
        for stored in await stored_indexes(
            connection, lambda name: name not in used and name.startswith(beginning)
        )
        if stored.owner is not None and _is_ours(config, stored.owner)
    ]


async def _counted_on(
    connection: Connection, config: ServingConfig, server: IndexConfig, stored: StoredIndex
) -> LeftBehind:
    from lookalike_serving.index.qdrant_stock import count

    assert stored.owner is not None
    known = _collection(config, stored.owner.name)
    filter = only_here(known.sources if known is not None else ())
    return LeftBehind(
        stored.name,
        _place_of(server),
        stored.owner.name,
        stored.model,
        documents=stored.points,
        only_here=await count(connection, stored.name, filter),
    )


async def _note_if_last(config: ServingConfig, owner: IndexOwner | None) -> None:
    """After an index was dropped on a server."""
    if owner is None or _is_configured(config, owner):
        return
    if any(_may_be_of(each, owner) for each in unused_folders(config)):
        return
    if not await _on_a_server(config, owner):
        note(config.data_dir, Removed(owner=owner))


async def _drop_on(config: ServingConfig, server: IndexConfig, index: LeftBehind) -> None:
    from lookalike_serving.index.qdrant_stock import drop as drop_stored

    async with _connected(server) as connection:
        for stored in await _unused_on(connection, config):
            if stored.name == index.name:
                release_index(config.data_dir / "images", index.name)
                forget(config.data_dir, index.name)
                await drop_stored(connection, stored)
                await _note_if_last(config, stored.owner)
                return
    raise Kept(f"index {index.name} is in use, or has been deleted")
