"""How a run reaches its index: through the server that holds it, or straight to Qdrant."""

from __future__ import annotations

from lookalike_crds.config import IngestionConfig
from lookalike_crds.image_collection import Engine
from lookalike_serving.books import BULK_NAME
from lookalike_serving.embed.protocol import EmbedderInfo
from lookalike_serving.index.open import open_existing, open_index, open_payload_index
from lookalike_serving.index.protocol import IndexFailure, PointStore
from lookalike_serving.index.remote import RemoteIndex
from lookalike_serving.index.spaces import CopySpace

GATEWAY_WAIT_SECONDS = 300.0
"""On a cluster the server may start at the same time, load its model, or be replaced."""


def open_remote(config: IngestionConfig) -> RemoteIndex:
    """The Edge index of the server at `gateway_url`. Raises IndexFailure if that is not set."""
    return _remote(config, config.collection.index.name)


async def open_former(config: IngestionConfig) -> PointStore:
    """The index that answers while this run fills another. Raises IndexFailure."""
    assert config.carry is not None
    on_server = config.carry.on_server
    if on_server is not None:
        return await open_existing(on_server, patience_seconds=GATEWAY_WAIT_SECONDS)
    return _remote(config, config.carry.index)


def open_images(config: IngestionConfig) -> RemoteIndex:
    """Reads images of documents through the server, which has the uploads. Raises IndexFailure if
    no server is known."""
    return _remote(config, None)


def _remote(config: IngestionConfig, index: str | None) -> RemoteIndex:
    if config.gateway_url is None or config.internal_token_file is None:
        raise IndexFailure(
            f"collection {config.collection.name}: its index and its stored images are reached "
            "through the server that holds them: gateway_url and internal_token_file must be set"
        )
    token = config.internal_token_file.read_text("utf-8-sig").strip()
    return RemoteIndex(
        config.gateway_url,
        config.collection.name,
        token,
        index=index,
        retry_seconds=GATEWAY_WAIT_SECONDS,
    )


async def open_store(
    config: IngestionConfig, info: EmbedderInfo, copies: EmbedderInfo | None
) -> PointStore:
    """For a worker, which knows the model, and the copy model. Raises IndexFailure."""
    if config.collection.index.engine is Engine.EDGE:
        return open_remote(config)
    return await open_index(
        config.collection,
        dimension=info.dimension,
        fingerprint=info.fingerprint,
        copies=None if copies is None else CopySpace(copies.dimension, copies.fingerprint),
        patience_seconds=GATEWAY_WAIT_SECONDS,
    )


async def open_made_store(config: IngestionConfig) -> PointStore:
    """The index on a Qdrant server as it was made, so that no model is needed. Raises IndexMismatch
    if it has not been made yet, or by a model of another name."""
    return await open_index(
        config.collection,
        dimension=None,
        fingerprint=None,
        patience_seconds=GATEWAY_WAIT_SECONDS,
    )


async def open_books(config: IngestionConfig) -> PointStore | None:
    """Where the collection's records are. None: nowhere, as the config has it. Raises
    IndexFailure."""
    if config.collection.books is not None:
        place = config.collection.books
        return await open_payload_index(place, patience_seconds=GATEWAY_WAIT_SECONDS)
    if config.gateway_url is None or config.internal_token_file is None:
        return None
    return _remote(config, BULK_NAME)
