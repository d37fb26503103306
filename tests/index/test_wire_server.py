"""The stand-in itself: what is written over one protocol is read over the other, and kept."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from tests.qdrant_server import StandIn

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.index.qdrant_collection import Wanted, ensure_collection


@pytest.fixture(params=[True, False], ids=["gRPC", "REST"])
async def client(
    request: pytest.FixtureRequest, stand_in: StandIn
) -> AsyncIterator[AsyncQdrantClient]:
    made = AsyncQdrantClient(
        url=stand_in.url, grpc_port=stand_in.grpc_port, prefer_grpc=request.param, timeout=30
    )
    yield made
    await made.close()


@pytest.fixture
def name() -> str:
    return f"shoes-{uuid.uuid4()}"


FIELDS = tuple(FieldSpec(name=kind.value.lower(), type=kind) for kind in FieldType)


@pytest.mark.parametrize(
    "vector",
    [
        VectorSpec(),
        VectorSpec(distance="Dot", quantization="Scalar", hnsw={"m": 32, "ef_construct": 99}),
        VectorSpec(distance="Euclid", quantization="Binary", on_disk=True),
    ],
)
async def test_a_collection_is_made_as_its_spec_says_and_reads_back_so(
    client: AsyncQdrantClient, name: str, vector: VectorSpec
) -> None:
    wanted = Wanted(name, vector, 4, "a", FIELDS, shards=2, replication_factor=3)
    await ensure_collection(client, wanted, "here", local=False)
    info = await client.get_collection(name)
    params = info.config.params
    assert (params.vectors.size, params.vectors.distance.value) == (4, vector.distance.value)
    assert bool(params.vectors.on_disk) is vector.on_disk
    assert (params.shard_number, params.replication_factor) == (2, 3)
    assert info.config.hnsw_config.m == vector.hnsw.m
    assert info.config.hnsw_config.ef_construct == vector.hnsw.ef_construct
    quantization = info.config.quantization_config
    assert (quantization is None) is (vector.quantization.value == "None")
    assert info.config.metadata == wanted.metadata
    kinds = {key: index.data_type.value for key, index in info.payload_schema.items()}
    assert kinds == {field.name: field.name for field in FIELDS}


async def test_changed_settings_and_fields_are_brought_up_to_date(
    client: AsyncQdrantClient, name: str
) -> None:
    keyword = FieldSpec(name="kind", type=FieldType.KEYWORD)
    text = FieldSpec(name="kind", type=FieldType.TEXT)
    before = Wanted(name, VectorSpec(quantization="Scalar"), 4, "a", (keyword,))
    after = Wanted(name, VectorSpec(hnsw={"m": 8}, on_disk=True), 4, "a", (text,))
    for wanted in (before, after, after):
        await ensure_collection(client, wanted, "here", local=False)
    info = await client.get_collection(name)
    assert info.config.hnsw_config.m == 8
    assert info.config.params.vectors.on_disk is True
    assert info.config.quantization_config is None
    assert info.payload_schema["kind"].data_type is models.PayloadSchemaType.TEXT
    remembered = {"former_types": {"kind": ["Keyword"]}}
    assert info.config.metadata == {"lookalike": {**after.metadata["lookalike"], **remembered}}


async def test_an_alias_leads_to_its_collection_and_can_be_switched(
    client: AsyncQdrantClient, name: str
) -> None:
    alias = f"alias-{name}"
    for each in ("a", "b"):
        params = models.VectorParams(size=4, distance=models.Distance.COSINE)
        await client.create_collection(f"{name}-{each}", vectors_config=params)
        to = models.CreateAlias(collection_name=f"{name}-{each}", alias_name=alias)
        await client.update_collection_aliases(
            [
                models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)),
                models.CreateAliasOperation(create_alias=to),
            ]
        )
    assert (await client.get_collection_aliases(f"{name}-a")).aliases == []
    (described,) = (await client.get_collection_aliases(f"{name}-b")).aliases
    assert described.alias_name == alias
    assert await client.collection_exists(alias)
    assert (await client.count(alias)).count == 0
    assert await client.delete_collection(f"{name}-b")
    assert not await client.collection_exists(alias)


async def test_payload_indexes_come_and_go(client: AsyncQdrantClient, name: str) -> None:
    await client.create_collection(name, vectors_config={})
    await client.create_payload_index(name, "a.b", models.PayloadSchemaType.FLOAT)
    info = await client.get_collection(name)
    assert info.payload_schema["a.b"].data_type is models.PayloadSchemaType.FLOAT
    await client.delete_payload_index(name, "a.b")
    assert (await client.get_collection(name)).payload_schema == {}


async def test_what_one_protocol_writes_the_other_reads(stand_in: StandIn, name: str) -> None:
    grpc, rest = (
        AsyncQdrantClient(
            url=stand_in.url, grpc_port=stand_in.grpc_port, prefer_grpc=prefers, timeout=30
        )
        for prefers in (True, False)
    )
    await rest.create_collection(name, vectors_config={}, metadata={"made": "by REST"})
    await grpc.upsert(name, [models.PointStruct(id=n, vector={}, payload={}) for n in range(7)])
    assert (await rest.count(name)).count == 7
    assert (await grpc.get_collection(name)).config.metadata == {"made": "by REST"}
    assert name in [each.name for each in (await grpc.get_collections()).collections]
    for each in (grpc, rest):
        await each.close()


async def test_rest_refuses_as_a_server_does(stand_in: StandIn, name: str) -> None:
    client = AsyncQdrantClient(url=stand_in.url, timeout=30)
    with pytest.raises(UnexpectedResponse, match="Not found: Collection") as missing:
        await client.get_collection(name)
    assert missing.value.status_code == 404
    await client.create_collection(name, vectors_config={})
    with pytest.raises(UnexpectedResponse, match="already exists") as twice:
        await client.create_collection(name, vectors_config={})
    assert twice.value.status_code == 409
    stand_in.faults(unauthenticated=True)
    with pytest.raises(UnexpectedResponse, match="Invalid API key") as refused:
        await client.get_collection(name)
    assert refused.value.status_code == 401
    await client.close()


def test_health_is_told_to_anybody_and_shows_an_absence(stand_in: StandIn) -> None:
    def health() -> int:
        return httpx.get(f"{stand_in.url}/readyz", timeout=30).status_code

    stand_in.faults(unauthenticated=True)
    assert health() == 200
    stand_in.faults(refuse=1)
    assert [health(), health()] == [503, 200]
    stand_in.faults(drop_connections=True)
    with pytest.raises(httpx.TransportError):
        health()


def test_a_fault_that_is_none_is_refused(stand_in: StandIn) -> None:
    with pytest.raises(ValueError, match="'GONE' is no gRPC status code"):
        stand_in.faults(fail_methods={"Upsert": "GONE"})
    with pytest.raises(ValueError, match="latency"):
        stand_in.faults(latency=1)
