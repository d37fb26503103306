"""What a Qdrant server says of an index, over its REST interface, and what goes wrong there."""

from __future__ import annotations

import asyncio
import os
import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models
from tests.qdrant_server import StandIn, running

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_operator.observe.qdrant import IndexUnavailable, Qdrant, Server
from lookalike_operator.plan.model import IndexAction, IndexOp

KEY = "a-key"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    with running(api_key=KEY) as server:
        yield server


@pytest.fixture
def healed(stand_in: StandIn) -> Iterator[StandIn]:
    yield stand_in
    stand_in.heal()


@pytest.fixture
def server(stand_in: StandIn) -> Server:
    """A real one where LOOKALIKE_QDRANT_URL says so."""
    url = os.environ.get("LOOKALIKE_QDRANT_URL")
    return (
        Server((url,), os.environ.get("LOOKALIKE_QDRANT_API_KEY"))
        if url
        else Server((stand_in.url,), KEY)
    )


@pytest.fixture
async def qdrant() -> AsyncIterator[Qdrant]:
    qdrant = Qdrant(timeout=20, keep=0.0)
    yield qdrant
    await qdrant.close()


@pytest.fixture
async def client(server: Server, stand_in: StandIn) -> AsyncIterator[AsyncQdrantClient]:
    """As serving talks to it."""
    port = stand_in.grpc_port if server.urls[0] == stand_in.url else 6334
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        client = AsyncQdrantClient(
            url=server.urls[0],
            api_key=server.api_key,
            timeout=60,
            prefer_grpc=True,
            grpc_port=port,
            check_compatibility=False,
        )
    yield client
    await client.close()


@pytest.fixture
async def index(client: AsyncQdrantClient) -> AsyncIterator[str]:
    """An index as serving makes it."""
    name = f"operator-{uuid.uuid4().hex[:12]}"
    made_for = {"dimension": 4, "distance": "Cosine", "fingerprint": "f"}
    await client.create_collection(
        name,
        vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE),
        metadata={"lookalike": made_for},
    )
    await client.upsert(
        name,
        [models.PointStruct(id=i, vector=[1, i, 0, 0], payload={}) for i in range(3)],
        wait=True,
    )
    yield name
    await client.delete_collection(name)


@pytest.mark.qdrant
async def test_an_index_is_described_with_what_it_was_made_for(
    qdrant: Qdrant, server: Server, index: str
) -> None:
    facts = await qdrant.facts(server, index, "n.catalogue")
    assert facts.error is None
    assert facts.exists
    assert facts.points == 3
    assert facts.made_for["dimension"] == 4
    assert facts.alias_target is None
    assert facts.payload_indexes == {}


@pytest.mark.qdrant
async def test_documents_that_no_source_has_are_counted_when_asked_for(
    qdrant: Qdrant, server: Server, client: AsyncQdrantClient, index: str
) -> None:
    own = {"_lookalike": {"document_id": "a", "source": "products"}}
    await client.upsert(
        index, [models.PointStruct(id=7, vector=[1, 0, 0, 0], payload=own)], wait=True
    )
    assert (await qdrant.facts(server, index, "a")).only_here is None
    for sources, count in ((("products",), 3), (("other",), 4), ((), 4)):
        assert (await qdrant.facts(server, index, "a", besides=sources)).only_here == count


@pytest.mark.qdrant
@pytest.mark.parametrize(
    ("before", "now", "held", "fitting"),
    [
        (FieldType.KEYWORD, FieldType.INTEGER, "60", 60),
        (FieldType.FLOAT, FieldType.KEYWORD, 60.5, "60.5"),
        (FieldType.BOOL, FieldType.TEXT, True, "yes"),
        (FieldType.KEYWORD, FieldType.FLOAT, "60.5", 60.5),
        (FieldType.INTEGER, FieldType.BOOL, 1, True),
        (FieldType.KEYWORD, FieldType.DATETIME, "yesterday", "2026-01-02T00:00:00Z"),
        (FieldType.KEYWORD, FieldType.GEO, "Rome", [{"lat": 41.9, "lon": 12.5}]),
    ],
)
async def test_a_field_whose_type_was_changed_is_told_as_long_as_values_of_before_are_there(
    qdrant: Qdrant,
    server: Server,
    client: AsyncQdrantClient,
    index: str,
    before: FieldType,
    now: FieldType,
    held: Any,
    fitting: Any,
) -> None:
    fields = (FieldSpec(name="x", type=now), FieldSpec(name="y", type=now))
    memory = {"lookalike": {"dimension": 4, "types": {"x": before.value}}}
    await client.update_collection(index, metadata=memory)

    async def told(*values: Any) -> tuple[str, ...]:
        points = [
            models.PointStruct(id=i, vector=[1, i, 0, 0], payload={"x": value})
            for i, value in enumerate(values)
        ]
        await client.upsert(index, points, wait=True)
        facts = await qdrant.facts(server, index, "a", fields=fields)
        assert facts.error is None
        return facts.retyped

    (line,) = await told(held, None, [])
    was = f"field x is {now.value} and was {before.value}: 1 document holds values that are no"
    assert line.startswith(was)
    assert await told(fitting) == ()
    # Serving has opened it since, and remembers.
    memory["lookalike"] |= {"types": {"x": now.value}, "former_types": {"x": [before.value]}}
    await client.update_collection(index, metadata=memory)
    assert await told(held) == (line,)


@pytest.mark.qdrant
async def test_an_index_that_is_not_there_is_a_fact_and_no_error(
    qdrant: Qdrant, server: Server
) -> None:
    facts = await qdrant.facts(server, "operator-never-made", "n.catalogue")
    assert facts.error is None
    assert not facts.exists


@pytest.mark.qdrant
async def test_payload_indexes_are_made_and_mended_and_making_them_again_changes_nothing(
    qdrant: Qdrant, server: Server, index: str
) -> None:
    for schema in ("keyword", "keyword", "integer"):
        op = IndexOp(IndexAction.ENSURE_PAYLOAD_INDEX, index, ("colour", schema))
        await qdrant.perform(server, op)
    # The server may build it after it has answered.
    for _ in range(600):
        found = (await qdrant.facts(server, index, "a")).payload_indexes
        if found == {"colour": "integer"}:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(found)


@pytest.mark.qdrant
async def test_the_alias_moves_from_one_index_to_another(
    qdrant: Qdrant, server: Server, index: str, client: AsyncQdrantClient
) -> None:
    alias = f"n.{uuid.uuid4().hex[:12]}"
    other = f"{index}-other"
    await client.create_collection(other, vectors_config={})
    try:
        for target in (index, other, other):
            await qdrant.perform(server, IndexOp(IndexAction.POINT_ALIAS, target, (alias,)))
            assert (await qdrant.facts(server, target, alias)).alias_target == target
    finally:
        await client.delete_collection(other)


@pytest.mark.qdrant
async def test_deleting_an_index_twice_is_as_good_as_once(
    qdrant: Qdrant, server: Server, index: str
) -> None:
    for _ in range(2):
        await qdrant.perform(server, IndexOp(IndexAction.DELETE, index))
    assert not (await qdrant.facts(server, index, "a")).exists


# -- what goes wrong -------------------------------------------------------------------------------


async def test_a_refused_key_is_said_with_where_to_put_the_right_one(
    qdrant: Qdrant, stand_in: StandIn
) -> None:
    facts = await qdrant.facts(Server((stand_in.url,), "wrong"), "x", "a")
    assert facts.error is not None
    assert facts.error.startswith(f"{stand_in.url} refused the API key (HTTP 40")
    assert "spec.index.qdrant.apiKeySecretRef" in facts.error
    assert "\n" not in facts.error


async def test_a_server_that_nobody_runs_is_unreachable(qdrant: Qdrant) -> None:
    url = "http://127.0.0.1:1"
    facts = await qdrant.facts(Server((url,)), "x", "a")
    assert facts.error is not None
    assert facts.error.startswith(f"{url} is unreachable")
    with pytest.raises(IndexUnavailable, match="is unreachable"):
        await qdrant.perform(Server((url,)), IndexOp(IndexAction.DELETE, "x"))


async def test_a_slow_server_is_left_in_time_and_asked_once_for_all_its_collections(
    healed: StandIn,
) -> None:
    qdrant = Qdrant(timeout=1, keep=60.0)
    server = Server((healed.url,), KEY)
    healed.faults(latency_seconds=30)
    try:
        loop = asyncio.get_running_loop()
        facts = await qdrant.facts(server, "one", "a")
        assert facts.error is not None
        assert "timed out" in facts.error
        began = loop.time()
        others = [await qdrant.facts(server, f"other-{i}", "a") for i in range(50)]
        assert {other.error for other in others} == {facts.error}
        assert {other.name for other in others} == {f"other-{i}" for i in range(50)}
        assert loop.time() - began < 10
    finally:
        await qdrant.close()


async def test_a_connection_that_breaks_is_a_fact_and_the_next_look_finds_it_mended(
    qdrant: Qdrant, healed: StandIn
) -> None:
    server = Server((healed.url,), KEY)
    healed.faults(drop_connections=True)
    facts = await qdrant.facts(server, "x", "a")
    assert facts.error is not None
    assert facts.error.startswith(f"{healed.url} closed the connection (")
    assert "check the port" in facts.error
    healed.heal()
    assert (await qdrant.facts(server, "x", "a")).error is None


async def test_the_key_is_never_shown() -> None:
    assert "hidden" not in repr(Server(("http://x",), "hidden"))
