"""What a Qdrant server and the way to it do wrong, over a real connection: see qdrant_server."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.qdrant_server import StandIn, running

from lookalike_crds.image_collection import VectorSpec
from lookalike_serving.index import qdrant_client
from lookalike_serving.index.protocol import IndexFailure, IndexUnavailable, Point, Query
from lookalike_serving.index.qdrant import QdrantIndex
from lookalike_serving.index.qdrant_client import CredentialFiles
from lookalike_serving.index.qdrant_collection import Wanted
from lookalike_serving.index.qdrant_connection import connected
from lookalike_serving.index.qdrant_errors import CollectionLost, KeyRefused

BOUND_SECONDS = 20
"""Of what is to take about one second: the machine may have much else to do."""
QUERY = Query(np.ones(4, np.float32), limit=3)


def points(count: int) -> list[Point]:
    vectors = np.random.default_rng(0).standard_normal((count, 4), dtype=np.float32)
    return [Point(str(uuid.UUID(int=n + 1)), v, {"n": n}) for n, v in enumerate(vectors)]


async def opened(server: StandIn, **settings) -> QdrantIndex:
    wanted = {
        "name": f"shoes-{uuid.uuid4()}",
        "vector": VectorSpec(),
        "dimension": 4,
        "fingerprint": "a",
        "grpc_port": server.grpc_port,
        "patience_seconds": 0,
    }
    return await QdrantIndex.open(server.url, **wanted | settings)


def name_of(index: QdrantIndex) -> str:
    return index._name


def one_line(message: str, *parts: str) -> None:
    assert len(message.splitlines()) == 1
    for part in parts:
        assert part in message


CALLS = {
    "upsert": lambda index: index.upsert(points(2)),
    "merge_payload": lambda index: index.merge_payload(points(1)[0].id, {"a": 1}),
    "replace_payload": lambda index: index.replace_payload(points(1)[0].id, {"a": 1}),
    "delete": lambda index: index.delete([points(1)[0].id]),
    "retrieve": lambda index: index.retrieve([points(1)[0].id]),
    "scroll": lambda index: index.scroll(),
    "count": lambda index: index.count(),
    "query": lambda index: index.query(QUERY),
    "info": lambda index: index.info(),
    "optimize": lambda index: index.optimize(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_dropped_connection_is_told_at_once_and_mended_when_the_server_is_back(
    stand_in: StandIn, call
) -> None:
    index = await opened(stand_in)
    await index.upsert(points(2))
    stand_in.faults(drop_connections=True)
    started = time.monotonic()
    with pytest.raises(IndexUnavailable) as told:
        await call(index)
    assert time.monotonic() - started < BOUND_SECONDS
    one_line(str(told.value), stand_in.url, "does not answer", "check that it runs")
    stand_in.heal()
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            try:
                await call(index)
                break
            except IndexUnavailable:
                await asyncio.sleep(0.05)
    await index.close()


async def test_a_caller_with_patience_does_not_notice_a_short_absence(stand_in: StandIn) -> None:
    index = await opened(stand_in, patience_seconds=60)
    stand_in.faults(drop_connections=True)
    writing = asyncio.create_task(index.upsert(points(600)))
    await asyncio.sleep(0.5)  # it is away for as long
    assert not writing.done()
    stand_in.heal()
    async with asyncio.timeout(60):
        await writing
    assert await index.count() == 600
    await index.close()


async def test_patience_has_an_end(stand_in: StandIn) -> None:
    index = await opened(stand_in, patience_seconds=1)
    stand_in.faults(drop_connections=True)
    started = time.monotonic()
    with pytest.raises(IndexUnavailable, match="does not answer"):
        await index.count()
    assert time.monotonic() - started < BOUND_SECONDS
    await index.close()


async def test_a_slow_server_is_given_up_in_time(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qdrant_client, "TIMEOUT_SECONDS", 1)
    index = await opened(stand_in)
    stand_in.faults(latency_seconds=60)
    started = time.monotonic()
    with pytest.raises(IndexUnavailable) as told:
        await index.query(QUERY)
    assert 0.9 < time.monotonic() - started < BOUND_SECONDS
    one_line(str(told.value), stand_in.url, "does not answer in time", "overloaded")
    stand_in.heal()
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            try:
                await index.query(QUERY)
                break
            except IndexUnavailable:
                pass
    await index.close()


async def test_a_machine_that_vanished_without_closing_its_connections_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As with the usual settings, in a tenth of their time. Without pings every call would run
    # into its time-out until the kernel gave the connection up.
    pings = ("keepalive_time_ms", "keepalive_timeout_ms", "http2.ping_timeout_ms")
    for setting in (f"grpc.{ping}" for ping in pings):
        usual = qdrant_client._CHANNEL[setting]
        monkeypatch.setitem(qdrant_client._CHANNEL, setting, usual // 10)
    # A server of its own: gRPC keeps connections for whoever asks for the same address next.
    with running() as vanishing:
        index = await opened(vanishing, patience_seconds=60)
        await index.upsert(points(5))
        vanishing.faults(silence_connections=True)
        started = time.monotonic()
        assert len(await index.query(QUERY)) == 3
        assert time.monotonic() - started < qdrant_client.TIMEOUT_SECONDS
        await index.close()


async def test_a_server_that_is_only_somewhat_slow_is_waited_for(stand_in: StandIn) -> None:
    index = await opened(stand_in)
    await index.upsert(points(5))
    stand_in.faults(latency_seconds=0.3)
    assert len(await index.query(QUERY)) == 3
    await index.close()


@pytest.fixture(scope="module")
def locked() -> Iterator[StandIn]:
    """One that asks for the key `right`."""
    with running(api_key="right") as server:
        yield server


@pytest.mark.parametrize("key", [None, "wrong"])
async def test_a_refused_key_is_told_and_not_taken_for_an_absent_server(
    locked: StandIn, key: str | None, tmp_path: Path
) -> None:
    file = None
    if key is not None:
        file = tmp_path / "key"
        file.write_text(key)
    with pytest.raises(IndexFailure) as told:
        await opened(locked, api_key_file=file)
    assert type(told.value) is KeyRefused
    one_line(str(told.value), locked.url, "refused the API key", "check index.api_key_file")
    (tmp_path / "right").write_text("right\n")
    index = await opened(locked, api_key_file=tmp_path / "right")
    assert await index.count() == 0
    await index.close()


async def test_a_key_that_is_replaced_in_its_file_is_followed(
    locked: StandIn, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("before")
    connection = connected(
        [locked.url], locked.grpc_port, CredentialFiles(file), patience_seconds=0
    )
    wanted = Wanted("replaced", VectorSpec(), 4, "a", ())
    with pytest.raises(KeyRefused):
        await QdrantIndex.open_with(connection, wanted)
    file.write_text("right")
    index = await QdrantIndex.open_with(connection, wanted)
    answers = await asyncio.gather(*(index.count() for _ in range(5)))
    assert answers == [0] * 5
    await index.close()


async def test_a_key_refused_in_the_middle_is_told_and_forgotten(stand_in: StandIn) -> None:
    index = await opened(stand_in, patience_seconds=60)
    stand_in.faults(unauthenticated=True)
    started = time.monotonic()
    with pytest.raises(KeyRefused, match="refused the API key"):
        await index.query(QUERY)
    assert time.monotonic() - started < BOUND_SECONDS  # patience is for absences
    stand_in.heal()
    assert await index.query(QUERY) == []
    await index.close()


@pytest.mark.parametrize("call", [c for c in CALLS if c != "optimize"])
async def test_a_collection_deleted_behind_our_back_is_told_with_the_remedy(
    stand_in: StandIn, call: str
) -> None:
    index = await opened(stand_in, patience_seconds=60)
    await index.upsert(points(2))
    stand_in.lose(name_of(index))
    started = time.monotonic()
    with pytest.raises(CollectionLost) as told:
        await CALLS[call](index)
    assert time.monotonic() - started < BOUND_SECONDS
    one_line(str(told.value), stand_in.url, "has lost the collection", "ingest again")
    await index.close()


async def test_a_running_server_finds_a_collection_that_ingestion_made_anew(
    stand_in: StandIn,
) -> None:
    serving = await opened(stand_in)
    stand_in.lose(name_of(serving))
    with pytest.raises(CollectionLost):
        await serving.query(QUERY)
    ingestion = await opened(stand_in, name=name_of(serving))
    await ingestion.upsert(points(5))
    await ingestion.close()
    assert len(await serving.query(QUERY)) == 3
    await serving.close()


async def test_lost_batch_records_do_not_keep_new_ones_from_being_written(
    stand_in: StandIn,
) -> None:
    index = await opened(stand_in, vector=None, dimension=None, fingerprint=None)
    await index.upsert([Point(points(1)[0].id, None, {"state": "DONE"})])
    stand_in.lose(name_of(index))
    assert (await index.scroll()).records == ()
    stand_in.lose(name_of(index))
    await index.upsert([Point(points(1)[0].id, None, {"state": "QUEUED"})])
    assert [r.payload for r in (await index.scroll()).records] == [{"state": "QUEUED"}]
    await index.close()


@pytest.mark.parametrize("applied", [False, True], ids=["not applied", "only the answer lost"])
async def test_a_write_that_fails_half_way_is_finished_and_nothing_is_doubled(
    stand_in: StandIn, applied: bool
) -> None:
    index = await opened(stand_in, patience_seconds=60)
    before = stand_in.calls("Points/Upsert")
    fault = {"code": "UNAVAILABLE", "after": 2, "times": 2, "applied": applied}
    stand_in.faults(fail_methods={"Upsert": fault})
    await index.upsert(points(1000))
    assert stand_in.calls("Points/Upsert") - before == 4 + 2  # four slices, two of them again
    assert await index.count() == 1000
    page = await index.scroll(limit=2000)
    assert [record.payload["n"] for record in page.records] == [*range(1000)]
    await index.close()


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "ABORTED", "RESOURCE_EXHAUSTED"])
async def test_a_write_that_was_given_up_half_way_can_be_repeated_whole(
    stand_in: StandIn, code: str
) -> None:
    index = await opened(stand_in)
    stand_in.faults(fail_methods={"Points/Upsert": {"code": code, "after": 2, "applied": True}})
    with pytest.raises(IndexUnavailable) as told:
        await index.upsert(points(1000))
    one_line(str(told.value), stand_in.url, "then try again")
    assert 0 < await index.count() < 1000
    stand_in.heal()
    await index.upsert(points(1000))
    assert await index.count() == 1000
    await index.close()


async def test_some_refused_calls_are_not_noticed_by_a_search(stand_in: StandIn) -> None:
    index = await opened(stand_in, patience_seconds=30)
    await index.upsert(points(5))
    stand_in.faults(refuse=3)
    assert len(await index.query(QUERY)) == 3
    await index.close()


async def test_opening_finds_a_server_that_is_away_out_soon_even_with_patience(
    stand_in: StandIn,
) -> None:
    stand_in.faults(drop_connections=True)
    started = time.monotonic()
    with pytest.raises(IndexUnavailable, match="does not answer"):
        await opened(stand_in, patience_seconds=300)
    assert time.monotonic() - started < 2 * BOUND_SECONDS


async def test_a_collection_whose_making_failed_half_way_is_completed_at_the_next_opening(
    stand_in: StandIn,
) -> None:
    name = f"shoes-{uuid.uuid4()}"
    lost = {"code": "UNAVAILABLE", "times": 1, "applied": True}
    stand_in.faults(fail_methods={"Collections/Create": lost})
    # Made after all: the answer alone was lost.
    first = await opened(stand_in, name=name, patience_seconds=30)
    await first.upsert(points(1))
    second = await opened(stand_in, name=name, patience_seconds=30)
    assert await second.count() == 1
    await first.close()
    await second.close()


async def test_replicas_that_start_together_share_one_collection(stand_in: StandIn) -> None:
    name = f"shoes-{uuid.uuid4()}"
    replicas = await asyncio.gather(*(opened(stand_in, name=name) for _ in range(5)))
    await replicas[0].upsert(points(2))
    assert [await replica.count() for replica in replicas] == [2] * 5
    for replica in replicas:
        await replica.close()
