"""A Qdrant server that is away, misconfigured, or holds somebody else's collection."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from grpc import StatusCode
from qdrant_client import models

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.index.protocol import (
    IndexFailure,
    IndexMismatch,
    IndexRefused,
    IndexUnavailable,
    Point,
)
from lookalike_serving.index.qdrant import QdrantIndex, connect
from lookalike_serving.index.qdrant_collection import Wanted, _failure


@pytest.fixture
def nobody() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


async def opened(url: str, port: int = 6334, **settings) -> QdrantIndex:
    return await QdrantIndex.open(
        url, "shoes", vector=VectorSpec(), dimension=4, fingerprint="a", grpc_port=port, **settings
    )


def wanted(**changes) -> Wanted:
    settings = {
        "name": "shoes",
        "vector": VectorSpec(),
        "dimension": 4,
        "fingerprint": "a",
        "fields": (),
    }
    return Wanted(**settings | changes)


async def test_a_server_that_does_not_answer_is_reported_with_its_address(nobody):
    url = f"http://127.0.0.1:{nobody}"
    with pytest.raises(IndexUnavailable, match=f"Qdrant at {url} does not answer"):
        await opened(url, nobody)


@pytest.mark.parametrize("url", ["http://", "qdrant:6333", "ftp://qdrant", ""])
async def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(IndexFailure, match=f"index.url {url!r} is no address"):
        await opened(url)


async def test_an_api_key_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(IndexFailure, match=r"index\.api_key_file .*key cannot be read: No such"):
        await opened("http://127.0.0.1:1", api_key_file=tmp_path / "key")


async def test_a_collection_of_somebody_else_is_left_alone():
    client = connect(":memory:", 6334, None)
    params = models.VectorParams(size=4, distance=models.Distance.COSINE)
    await client.create_collection("shoes", vectors_config=params)
    with pytest.raises(IndexMismatch, match="was not made by Lookalike"):
        await QdrantIndex.open_with(client, wanted(), ":memory:")
    await client.close()


async def test_a_collection_that_another_replica_makes_at_the_same_time_is_shared(monkeypatch):
    client = connect(":memory:", 6334, None)
    first = await QdrantIndex.open_with(client, wanted(), ":memory:")
    await first.upsert([Point(_ID, np.ones(4, np.float32), {})])
    # What the second replica saw is older than the first one's collection.
    answers = iter([False, True])

    async def collection_exists(name: str) -> bool:
        return next(answers)

    monkeypatch.setattr(client, "collection_exists", collection_exists)
    second = await QdrantIndex.open_with(client, wanted(), ":memory:")
    assert await second.count() == 1
    await client.close()


async def test_a_collection_carries_the_settings_of_its_spec():
    client = connect(":memory:", 6334, None)
    vector = VectorSpec(distance="Euclid", on_disk=True)
    fields = (FieldSpec(name="kind", type=FieldType.KEYWORD),)
    await QdrantIndex.open_with(client, wanted(vector=vector, fields=fields), ":memory:")
    config = (await client.get_collection("shoes")).config
    assert config.params.vectors.size == 4
    assert config.params.vectors.distance == models.Distance.EUCLID
    assert config.metadata["lookalike"]["fingerprint"] == "a"
    assert config.metadata["lookalike"]["distance"] == "Euclid"
    await client.close()


_ID = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("status", "text", "kind", "says"),
    [
        (StatusCode.UNAVAILABLE, "connection refused", IndexUnavailable, "http://q:6333"),
        (StatusCode.DEADLINE_EXCEEDED, "", IndexUnavailable, "does not answer"),
        (StatusCode.RESOURCE_EXHAUSTED, "slow down", IndexUnavailable, "slow down"),
        (503, "starting", IndexUnavailable, "starting"),
        (StatusCode.UNAUTHENTICATED, "no key", IndexFailure, "index.api_key_file"),
        (403, "read only", IndexFailure, "index.api_key_file"),
        (StatusCode.INVALID_ARGUMENT, "bad prefix match", IndexRefused, "bad prefix match"),
        (StatusCode.NOT_FOUND, "Not found: No point with id 1 found", IndexRefused, "deleted"),
        (StatusCode.NOT_FOUND, "Collection `shoes` doesn't exist!", IndexUnavailable, "lost"),
    ],
)
def test_a_servers_answer_becomes_an_error_that_tells_the_remedy(status, text, kind, says):
    failure = _failure(status, text, "searching collection shoes", "http://q:6333")
    assert type(failure) is kind
    assert says in str(failure)
    assert "searching collection shoes" in str(failure)
