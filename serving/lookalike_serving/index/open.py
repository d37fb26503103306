"""Opening the index a configuration names, whatever its engine.

Engines are imported when first used: a process that talks to a server does not load Edge.
"""

from __future__ import annotations

from pathlib import Path

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine
from lookalike_crds.naming import described
from lookalike_serving.index.protocol import Index, IndexFailure
from lookalike_serving.index.spaces import CopySpace


async def open_index(
    collection: CollectionConfig,
    *,
    dimension: int | None,
    fingerprint: str | None,
    copies: CopySpace | None = None,
    patience_seconds: float | None = None,
) -> Index:
    """The collection's index, created if it is missing.

    `copies`: the vectors of the collection's copy model, if it has one.

    `patience_seconds`: how long a server that goes away is waited for; None: the moment
    that a search may wait.

    `dimension` and `fingerprint` are those of the collection's embedder (`EmbedderInfo`). Of an
    index on a Qdrant server they may be None if it is there: then they are what it was made for, by
    a model of the same name, and IndexMismatch is raised if there is none. Raises
    IndexMismatch if the stored index was made for others or is another's, IndexUnavailable where
    the engine cannot be reached or another process keeps the Edge folder open.
    """
    config = collection.index
    if config.engine is Engine.EDGE:
        from lookalike_serving.index.edge import EdgeIndex

        return await EdgeIndex.open(
            _edge_path(config),
            vector=collection.vector,
            dimension=dimension,
            fingerprint=fingerprint,
            fields=collection.fields,
            owner=config.owner,
            model=described(collection.made_by),
            copies=copies,
        )
    from lookalike_serving.index.qdrant import PATIENCE_SECONDS, QdrantIndex

    return await QdrantIndex.open(
        _addresses(config),
        config.name,
        vector=collection.vector,
        dimension=dimension,
        fingerprint=fingerprint,
        fields=collection.fields,
        grpc_port=config.grpc_port,
        api_key_file=config.api_key_file,
        ca_file=config.ca_file,
        shards=config.shards,
        replication_factor=config.replication_factor,
        patience_seconds=PATIENCE_SECONDS if patience_seconds is None else patience_seconds,
        owner=config.owner,
        adopts=config.adopts,
        model=described(collection.made_by),
        copies=copies,
    )


async def open_existing(config: IndexConfig, *, patience_seconds: float) -> Index:
    """An index on a Qdrant server that is only read, whatever model it was made for. Raises
    IndexFailure."""
    from lookalike_serving.index.qdrant import QdrantIndex
    from lookalike_serving.index.qdrant_client import CredentialFiles
    from lookalike_serving.index.qdrant_connection import connected

    connection = connected(
        list(_addresses(config)),
        config.grpc_port,
        CredentialFiles(config.api_key_file, config.ca_file),
        patience_seconds=patience_seconds,
    )
    try:
        return await QdrantIndex.existing(connection, config.name)
    except BaseException:
        await connection.close()
        raise


async def open_payload_index(
    config: IndexConfig, *, patience_seconds: float | None = None
) -> Index:
    """An index of payloads without vectors, such as the batch records.

    `patience_seconds`: as for `open_index`.
    """
    if config.engine is Engine.EDGE:
        from lookalike_serving.index.edge import EdgeIndex

        return await EdgeIndex.open(
            _edge_path(config), vector=None, dimension=None, fingerprint=None, owner=config.owner
        )
    from lookalike_serving.index.qdrant import PATIENCE_SECONDS, QdrantIndex

    return await QdrantIndex.open(
        _addresses(config),
        config.name,
        patience_seconds=PATIENCE_SECONDS if patience_seconds is None else patience_seconds,
        vector=None,
        dimension=None,
        fingerprint=None,
        grpc_port=config.grpc_port,
        api_key_file=config.api_key_file,
        ca_file=config.ca_file,
        shards=config.shards,
        replication_factor=config.replication_factor,
        owner=config.owner,
        adopts=config.adopts,
    )


def _edge_path(config: IndexConfig) -> Path:
    if config.path is None:
        raise IndexFailure(f"index {config.name}: engine Edge needs a folder: set index.path")
    return config.path


def _addresses(config: IndexConfig) -> tuple[str, ...]:
    if not config.addresses:
        raise IndexFailure(f"index {config.name}: engine Qdrant needs an address: set index.url")
    return config.addresses
