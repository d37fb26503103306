"""Servers older than today's: what they lack is refused by name, and too old ones are not used."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from tests.qdrant_server import running

from lookalike_crds.image_collection import VectorSpec
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.tree import Filter, Not
from lookalike_serving.index.protocol import IndexMismatch, IndexRefused, Point, Query
from lookalike_serving.index.qdrant import QdrantIndex


async def opened(server) -> QdrantIndex:
    return await QdrantIndex.open(
        server.url,
        "shoes",
        vector=VectorSpec(),
        dimension=4,
        fingerprint="a",
        grpc_port=server.grpc_port,
    )


async def test_a_server_without_an_operator_refuses_it_by_name_and_serves_the_others():
    with running(version="1.18.2") as server:
        index = await opened(server)
        vector = np.ones(4, np.float32)
        await index.upsert([Point(str(uuid.UUID(int=1)), vector, {"kind": ["mug"], "price": 3})])
        newer: list[tuple[Filter, str]] = [
            (condition("kind", "contains", "mu"), "contains of a text needs Qdrant 1.20"),
            (Not((condition("kind", "starts_with", "m"),)), "starts_with needs Qdrant 1.19"),
        ]
        for filter, message in newer:
            with pytest.raises(IndexRefused, match=message):
                await index.scroll(filter=filter)
            with pytest.raises(IndexRefused, match="upgrade it, or use"):
                await index.count(filter)
            with pytest.raises(IndexRefused, match=message):
                await index.query(Query(vector, limit=1, filter=filter))
        assert await index.count(condition("price", "contains", 3)) == 0
        assert await index.count(condition("kind", "eq", "mug")) == 1
        await index.close()


async def test_a_server_below_the_oldest_supported_is_not_used():
    message = r"has version 1\.15\.5, and the oldest supported version is 1\.16"
    with running(version="1.15.5") as server, pytest.raises(IndexMismatch, match=message):
        await opened(server)


async def test_rest_alone_needs_no_port_of_grpc(stand_in):
    name = f"rest-{uuid.uuid4()}"
    index = await QdrantIndex.open(
        stand_in.url, name, vector=VectorSpec(), dimension=4, fingerprint="a", grpc_port=None
    )
    before = stand_in.calls("Points/Count")
    assert await index.count(condition("price", "gt", 3)) == 0
    assert stand_in.calls("Points/Count") == before + 1
    assert (await index.info()).dimension == 4
    await index.drop()
