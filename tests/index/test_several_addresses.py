"""A server of several nodes: what one of them does is not noticed while another answers."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.qdrant_server import StandIn, running
from tests.qdrant_server.fronts import Front, fronts

from lookalike_crds.backoff import Backoff
from lookalike_crds.image_collection import VectorSpec
from lookalike_serving.index import qdrant_connection
from lookalike_serving.index.protocol import IndexMismatch, IndexUnavailable, Point, Query
from lookalike_serving.index.qdrant import QdrantIndex
from lookalike_serving.index.qdrant_client import CredentialFiles
from lookalike_serving.index.qdrant_connection import Connection, connected
from lookalike_serving.index.qdrant_errors import CollectionLost

BOUND_SECONDS = 20
QUERY = Query(np.ones(4, np.float32), limit=3)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that was left out is looked at often."""
    monkeypatch.setattr(qdrant_connection, "_LOOKS", Backoff(base=0.05, cap=0.2))


def point(number: int) -> Point:
    return Point(str(uuid.UUID(int=number + 1)), np.eye(4, dtype=np.float32)[number % 4], {})


async def opened(nodes: list[Front], *, rest: bool = False, **settings) -> QdrantIndex:
    return await QdrantIndex.open(
        [node.url for node in nodes],
        f"shoes-{uuid.uuid4()}",
        vector=VectorSpec(),
        dimension=4,
        fingerprint="a",
        grpc_port=None if rest else nodes[0].grpc_port,
        **settings,
    )


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            if happened():
                return
            await asyncio.sleep(0.02)


async def until_in_use_again(index: QdrantIndex) -> None:
    await until(lambda: not any(node.left_out for node in index._connection._nodes))


@pytest.mark.parametrize("protocol", ["Grpc", "Rest"])
async def test_a_killed_node_loses_nothing_of_what_many_clients_ask_and_write(
    stand_in: StandIn, protocol: str
) -> None:
    async with fronts(stand_in, 3) as nodes:
        index = await opened(nodes, rest=protocol == "Rest")
        ended = asyncio.Event()
        written: list[int] = []
        searches = 0

        async def writes(client: int) -> None:
            number = client
            while not ended.is_set():
                await index.upsert([point(number)])
                # Whoever wrote reads it, whichever node was killed meanwhile.
                assert [r.id for r in await index.retrieve([point(number).id])]
                written.append(number)
                number += 8

        async def searching() -> None:
            nonlocal searches
            while not ended.is_set():
                await index.query(QUERY)
                searches += 1

        async with asyncio.timeout(3 * BOUND_SECONDS), asyncio.TaskGroup() as clients:
            for client in range(8):
                clients.create_task(writes(client))
                clients.create_task(searching())
            for killed in (0, 1, 0):
                await asyncio.sleep(0.3)
                await nodes[killed].kill()
                goal = len(written) + 20, searches + 20
                await until(lambda goal=goal: len(written) > goal[0] and searches > goal[1])
                await nodes[killed].start()
                await until_in_use_again(index)
                # The first is preferred again: what is said from now on is said to it.
                more = nodes[0].carried + 10_000
                await until(lambda more=more: nodes[0].carried > more)
            ended.set()
        assert await index.count() == len({*written})
        await index.drop()


async def test_a_node_that_vanished_is_left_within_a_bound_and_not_asked_by_the_next(
    stand_in: StandIn,
) -> None:
    async with fronts(stand_in, 3) as nodes:
        index = await opened(nodes)
        await index.upsert([point(0)])
        nodes[0].vanish()
        started = time.monotonic()
        assert len(await index.query(QUERY)) == 1
        first = time.monotonic() - started
        assert first < BOUND_SECONDS / 2
        started = time.monotonic()
        for _ in range(5):
            await index.upsert([point(1)])
        assert time.monotonic() - started < qdrant_connection._QUIET_SECONDS
        await index.drop()


async def test_a_caller_that_gives_up_while_a_node_is_silent_leaves_the_next_one_better_off(
    stand_in: StandIn,
) -> None:
    async with fronts(stand_in, 2) as nodes:
        index = await opened(nodes)
        nodes[0].vanish()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5 * qdrant_connection._QUIET_SECONDS):
                await index.query(QUERY)
        await asyncio.sleep(qdrant_connection._CHECK_SECONDS)
        started = time.monotonic()
        await index.query(QUERY)
        assert time.monotonic() - started < qdrant_connection._QUIET_SECONDS
        await index.close()


async def test_a_slow_node_that_lives_is_waited_for(stand_in: StandIn) -> None:
    async with fronts(stand_in, 2) as nodes:
        index = await opened(nodes)
        before = stand_in.calls("Points/QueryBatch")
        slow = 1.5 * qdrant_connection._QUIET_SECONDS
        stand_in.faults(latency_seconds=slow, prompt_methods=["Qdrant/HealthCheck"])
        await index.query(QUERY)
        assert stand_in.calls("Points/QueryBatch") == before + 1
        assert not any(node.left_out for node in index._connection._nodes)
        stand_in.heal()
        await index.drop()


async def test_the_first_address_alone_is_used_while_it_answers(stand_in: StandIn) -> None:
    async with fronts(stand_in, 3) as nodes:
        index = await opened(nodes)
        carried = [node.carried for node in nodes[1:]]
        for number in range(20):
            await index.upsert([point(number)])
            await index.query(QUERY)
        assert [node.carried for node in nodes[1:]] == carried
        await index.drop()


async def test_while_no_address_answers_each_is_named_and_patience_counts(
    stand_in: StandIn,
) -> None:
    async with fronts(stand_in, 2) as nodes:
        index = await opened(nodes, patience_seconds=60)
        for node in nodes:
            await node.kill()
        writing = asyncio.create_task(index.upsert([point(0)]))
        await asyncio.sleep(0.5)
        assert not writing.done()
        index._connection.patience_seconds = 0
        with pytest.raises(IndexUnavailable) as told:
            await index.query(QUERY)
        assert all(node.url in str(told.value) for node in nodes)
        await nodes[1].start()
        async with asyncio.timeout(BOUND_SECONDS):
            await writing
        await index.drop()


async def test_an_index_opens_while_one_address_is_away(stand_in: StandIn) -> None:
    async with fronts(stand_in, 2) as nodes:
        await nodes[0].kill()
        index = await opened(nodes)
        await index.upsert([point(0)])
        await nodes[0].start()
        await until_in_use_again(index)
        assert await index.count() == 1
        await index.drop()


@pytest.fixture(scope="module")
def other() -> Iterator[StandIn]:
    """A server of its own, too old and without what the usual one has."""
    with running(version="1.15.5") as server:
        yield server


def at(*servers: StandIn) -> Connection:
    urls = [server.url for server in servers]
    return connected(urls, None, CredentialFiles(), patience_seconds=0)


async def test_the_version_of_each_address_is_read(
    stand_in: StandIn, other: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = at(stand_in, other)
    with pytest.raises(IndexMismatch, match=rf"{other.url} has version 1\.15\.5"):
        await connection.read_versions()
    monkeypatch.setattr(qdrant_connection, "too_old", lambda version: False)
    await connection.read_versions()
    assert connection.version == (1, 15), "the oldest"
    await connection.close()


async def test_a_collection_is_lost_only_if_no_other_node_has_it(
    stand_in: StandIn, other: StandIn
) -> None:
    async with fronts(stand_in) as nodes:
        index = await opened(nodes)
        both = at(other, stand_in)
        name = index._name
        await both.call("reading", lambda client: client.get_collection(name))
        await index.drop()
        with pytest.raises(CollectionLost):
            await both.call("reading", lambda client: client.get_collection(name))
        await both.close()
