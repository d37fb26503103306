"""A Qdrant server that is away, misconfigured, or holds somebody else's collection."""

from __future__ import annotations

import re
import socket

import numpy as np
import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError
from qdrant_client import AsyncQdrantClient, models

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.tree import And, HasId, Not, Or
from lookalike_serving.index.protocol import (
    IndexFailure,
    IndexMismatch,
    IndexRefused,
    IndexUnavailable,
    Point,
    Query,
)
from lookalike_serving.index.qdrant import QdrantIndex
from lookalike_serving.index.qdrant_client import client_of
from lookalike_serving.index.qdrant_collection import (
    Wanted,
    _apply_settings,
    _create,
    _payload_schema,
)
from lookalike_serving.index.qdrant_connection import Connection
from lookalike_serving.index.qdrant_errors import CollectionLost, KeyRefused, TooSlow, failure


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


def local(client: AsyncQdrantClient) -> Connection:
    return Connection({":memory:": client})


async def test_a_server_that_does_not_answer_is_reported_with_its_address(nobody):
    url = f"http://127.0.0.1:{nobody}"
    with pytest.raises(IndexUnavailable, match=f"Qdrant at {url} does not answer"):
        await opened(url, nobody)


@pytest.mark.parametrize(
    "url",
    ["http://", "qdrant:6333", "ftp://qdrant", "", "http://[0]:1", "http://[::1", "http://q:99999"],
)
async def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(IndexFailure, match=re.escape(f"index.url {url!r} is not the address")):
        await opened(url)


async def test_an_api_key_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(IndexFailure, match=r"index\.api_key_file .*key cannot be read: No such"):
        await opened("http://127.0.0.1:1", api_key_file=tmp_path / "key")


async def test_a_collection_of_somebody_else_is_left_alone():
    client = client_of(":memory:", 6334)
    params = models.VectorParams(size=4, distance=models.Distance.COSINE)
    await client.create_collection("shoes", vectors_config=params)
    with pytest.raises(IndexMismatch, match="was not created by Lookalike"):
        await QdrantIndex.open_with(local(client), wanted())
    await client.close()


async def test_a_collection_that_another_replica_makes_at_the_same_time_is_shared(monkeypatch):
    client = client_of(":memory:", 6334)
    first = await QdrantIndex.open_with(local(client), wanted())
    await first.upsert([Point(_ID, np.ones(4, np.float32), {})])
    # What the second replica saw is older than the first one's collection.
    answers = iter([False, True])

    async def collection_exists(name: str) -> bool:
        return next(answers)

    monkeypatch.setattr(client, "collection_exists", collection_exists)
    second = await QdrantIndex.open_with(local(client), wanted())
    assert await second.count() == 1
    await client.close()


async def test_a_collection_carries_the_settings_of_its_spec():
    client = client_of(":memory:", 6334)
    vector = VectorSpec(distance="Euclid", on_disk=True)
    fields = (FieldSpec(name="kind", type=FieldType.KEYWORD),)
    await QdrantIndex.open_with(local(client), wanted(vector=vector, fields=fields))
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
        (StatusCode.DEADLINE_EXCEEDED, "", TooSlow, "does not answer"),
        (StatusCode.RESOURCE_EXHAUSTED, "slow down", IndexUnavailable, "slow down"),
        (503, "starting", IndexUnavailable, "starting"),
        (StatusCode.INTERNAL, "No space\nleft on device", IndexUnavailable, "No space left"),
        (StatusCode.UNAUTHENTICATED, "no key", KeyRefused, "index.api_key_file"),
        (403, "read only", KeyRefused, "index.api_key_file"),
        (StatusCode.INVALID_ARGUMENT, "bad prefix match", IndexRefused, "bad prefix match"),
        (StatusCode.NOT_FOUND, "Not found: No point with id 1 found", IndexRefused, "deleted"),
        (StatusCode.NOT_FOUND, "Collection `shoes` doesn't exist!", CollectionLost, "lost"),
    ],
)
def test_a_servers_answer_becomes_an_error_that_tells_the_remedy(status, text, kind, says):
    told = failure(status, text, "searching collection shoes", "http://q:6333")
    assert type(told) is kind
    assert says in str(told)
    assert "searching collection shoes" in str(told)
    assert "http://q:6333" in str(told) or "No point" in text
    assert len(str(told).splitlines()) == 1


_EVERY_KIND_OF_FILTER = And(
    (
        condition("a.b", "eq", 1),
        condition("a", "eq", 2**60),
        condition("sold", "eq", True),
        condition("kind", "in", ["mug", "cup", 3, 2**60]),
        condition("added", "gte", "2026-03-01T12:00:00Z"),
        condition("kind", "starts_with", "m"),
        condition("kind", "contains", "u"),
        condition("title", "text", "red mug"),
        condition("kind", "exists"),
        condition("kind", "is_null"),
        condition("place", "geo_radius", {"lat": 1, "lon": 2, "radius_m": 3}),
        condition(
            "place",
            "geo_box",
            {"top_left": {"lat": 2, "lon": 1}, "bottom_right": {"lat": 1, "lon": 2}},
        ),
        Or((HasId((_ID,)), Not((condition("kind", "nin", [1.5, "x"]),)))),
    )
)
_CALLS = {
    "upsert": lambda i: i.upsert([Point(_ID, np.ones(4, np.float32), {"a": [1, None, {"b": 2}]})]),
    "merge_payload": lambda i: i.merge_payload(_ID, {"a": 1}),
    "replace_payload": lambda i: i.replace_payload(_ID, {"a": 1}),
    "delete": lambda i: i.delete([_ID]),
    "retrieve": lambda i: i.retrieve([_ID], with_payload=("a.b",), with_vector=True),
    "scroll": lambda i: i.scroll(filter=_EVERY_KIND_OF_FILTER, after=_ID, with_vector=True),
    "count": lambda i: i.count(_EVERY_KIND_OF_FILTER),
    "query": lambda i: i.query(Query(np.ones(4, np.float32), 3, _EVERY_KIND_OF_FILTER, 0.5, 2)),
    "exact query": lambda i: i.query(Query(np.ones(4, np.float32), 3, exact=True)),
    "query_batch": lambda i: i.query_batch([Query(np.ones(4, np.float32), 3, ef=99)] * 3),
    "info": lambda i: i.info(),
    "optimize": lambda i: i.optimize(),
    "drop": lambda i: i.drop(),
}


@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
@pytest.mark.parametrize("quantization", ["None", "Scalar"])
async def test_every_call_finds_out_that_the_server_has_gone(nobody, call, quantization):
    # Each is translated to gRPC before it fails, so a call that has no such form shows here too.
    url = f"http://127.0.0.1:{nobody}"
    vector = VectorSpec(quantization=quantization)
    index = QdrantIndex(Connection({url: client_of(url, nobody)}), wanted(vector=vector))
    with pytest.raises(IndexUnavailable, match=f"Qdrant at {url} does not answer"):
        await call(index)
    await index.close()


@pytest.mark.parametrize(
    "vector",
    [
        None,
        VectorSpec(),
        VectorSpec(quantization="Scalar"),
        VectorSpec(quantization="Binary", on_disk=True),
    ],
)
async def test_every_collection_can_be_asked_for(nobody, vector):
    url = f"http://127.0.0.1:{nobody}"
    client = client_of(url, nobody)
    asked = wanted(vector=vector, dimension=None if vector is None else 4)
    with pytest.raises(AioRpcError) as raised:
        await _create(client, asked)
    assert raised.value.code() is StatusCode.UNAVAILABLE
    if vector is not None:
        with pytest.raises(AioRpcError) as raised:
            await _apply_settings(client, asked, vector, {})
        assert raised.value.code() is StatusCode.UNAVAILABLE
    await client.close()


@pytest.mark.parametrize("kind", list(FieldType))
async def test_every_payload_index_can_be_asked_for(nobody, kind):
    client = client_of(f"http://127.0.0.1:{nobody}", nobody)
    with pytest.raises(AioRpcError) as raised:
        await client.create_payload_index("shoes", "field", field_schema=_payload_schema(kind))
    assert raised.value.code() is StatusCode.UNAVAILABLE
    await client.close()
