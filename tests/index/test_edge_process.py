"""A large shard in a process of its own: the same answers, and safe whatever is killed when."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import uuid
from pathlib import Path

import numpy as np
import pytest

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.index import edge_growth, edge_settings, edge_store
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.edge_engine import ShardEngine
from lookalike_serving.index.edge_growth import Occasion, Share
from lookalike_serving.index.edge_process import ShardProcess
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.protocol import (
    Choice,
    IndexFailure,
    IndexRefused,
    IndexUnavailable,
    Point,
    Query,
)

MANY, WIDE = 800, 64
FEW = Share(50 * 1024, 0.0)
FIELDS = (FieldSpec(name="n", type=FieldType.INTEGER),)


@pytest.fixture(autouse=True)
def _every_shard_is_large(monkeypatch):
    monkeypatch.setattr(edge_store, "LARGE_BYTES", 0)
    monkeypatch.setattr(edge_settings, "INDEXING_THRESHOLD_KB", 50)
    monkeypatch.setattr(edge_growth, "ASKED", Occasion(FEW, FEW))


def uid(number: int) -> str:
    return str(uuid.UUID(int=number))


def vectors(count: int = MANY) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, WIDE), dtype=np.float32)


async def opened(folder: Path, lock_wait_seconds: float = 0) -> EdgeIndex:
    return await EdgeIndex.open(
        folder,
        vector=VectorSpec(),
        dimension=WIDE,
        fingerprint="a",
        fields=FIELDS,
        lock_wait_seconds=lock_wait_seconds,
    )


async def filled(folder: Path) -> EdgeIndex:
    index = await opened(folder)
    await index.upsert([Point(uid(n), v, {"n": n}) for n, v in enumerate(vectors())])
    return index


def pid_of(index: EdgeIndex) -> int:
    shard = index._store.shard
    assert isinstance(shard, ShardProcess)
    return shard._process.pid


def test_it_opens_on_uvloop_too(tmp_path: Path) -> None:
    """Which Ray's replicas and uvicorn run on where it is installed. Its transports are no
    subclasses of asyncio's."""
    uvloop = pytest.importorskip("uvloop")

    async def count() -> int:
        index = await filled(tmp_path / "index")
        assert pid_of(index)
        found = await index.count()
        await index.close()
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(count()) == MANY


async def everything(index: EdgeIndex) -> list[object]:
    """What each operation answers, in a form that compares."""
    asked = [Query(v, 3, with_vector=True) for v in vectors(5)]
    hits = [await index.query(asked[0]), *await index.query_batch(asked)]
    kept = await index.retrieve([uid(7), uid(10**6), uid(3)], with_vector=True)
    page = await index.scroll(filter=condition("n", "lt", 5), limit=3)
    return [
        [[(h.id, h.score, h.payload, h.vector.tolist()) for h in each] for each in hits],
        [(r.id, r.payload, r.vector.tolist()) for r in kept],
        page,
        await index.count(condition("n", "gte", 100)),
        await index.facet("n", Choice(5, also=(700, -1)), condition("n", "gte", 100)),
        await index.extent("n", condition("n", "lt", 100)),
        await index.info(),
    ]


async def test_it_answers_as_in_the_servers_own_process(folder, monkeypatch):
    index = await filled(folder)
    await index.merge_payload(uid(3), {"merged": [1, None, "ß"]})
    await index.replace_payload(uid(7), {"n": 7, "whole": True})
    await index.delete([uid(2)])
    with pytest.raises(IndexRefused, match="was deleted in the meantime"):
        await index.merge_payload(uid(2), {})
    with pytest.raises(IndexRefused, match="no payload index"):
        await index.facet("nope", Choice(1))
    with pytest.raises(IndexRefused, match="NaN"):
        await index.query(Query(np.full(WIDE, np.nan, np.float32), 1))
    apart = await everything(index)
    await index.close()
    monkeypatch.setattr(edge_store, "LARGE_BYTES", 10**12)
    index = await opened(folder)
    assert not isinstance(index._store.shard, ShardProcess)
    assert await everything(index) == apart
    await index.close()


async def test_a_shard_that_has_grown_large_leaves_the_servers_process(folder, monkeypatch):
    monkeypatch.setattr(edge_store, "LARGE_BYTES", 10**12)
    index = await filled(folder)
    monkeypatch.setattr(edge_store, "LARGE_BYTES", 0)
    await index.optimize()
    assert pid_of(index) != os.getpid()
    assert await index.count() == MANY
    await index.close()


async def test_a_write_is_read_at_once_before_in_and_after_a_take_over(folder):
    index = await filled(folder)
    first = pid_of(index)
    optimising = asyncio.create_task(index.optimize())
    fresh = vectors(600) + 1
    written = 0
    while not optimising.done() or written < 50:
        if written < len(fresh):
            n = MANY + written
            await index.upsert([Point(uid(n), fresh[written], {"n": n})])
            assert [r.payload for r in await index.retrieve([uid(n)])] == [{"n": n}]
            await index.delete([uid(written)])
            assert await index.retrieve([uid(written)]) == []
            written += 1
        await asyncio.sleep(0.002)
    await optimising
    assert pid_of(index) != first
    assert await index.count() == MANY
    assert await index.count(condition("n", "gte", MANY)) == written
    await index.close()
    index = await opened(folder)
    assert await index.count(condition("n", "gte", written)) == MANY
    await index.close()


async def test_queries_go_on_while_the_next_shard_is_loaded(folder, monkeypatch):
    """The old shard answers until the very moment that the new one takes over."""
    index = await filled(folder)
    started, release = asyncio.Event(), asyncio.Event()
    start = ShardProcess.start

    async def held_up(place, lock):
        shard = await start(place, lock)
        started.set()
        await release.wait()
        return shard

    monkeypatch.setattr(ShardProcess, "start", held_up)
    optimising = asyncio.create_task(index.optimize())
    await asyncio.wait_for(started.wait(), 60)
    for n in range(300):
        await index.upsert([Point(uid(MANY + n), vectors()[n], {"n": n})])
    assert len(await index.query(Query(vectors()[0], 5))) == 5
    assert not optimising.done()
    release.set()
    await optimising
    assert await index.count() == MANY + 300
    await index.close()


async def test_a_killed_process_is_started_again_and_nothing_is_lost(folder):
    index = await filled(folder)
    killed = pid_of(index)
    asking = asyncio.create_task(index.query(Query(vectors()[0], 1)))
    os.kill(killed, signal.SIGSTOP)
    await asyncio.sleep(0)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(IndexUnavailable, match="ended unexpectedly"):
        await asking
    assert await asyncio.gather(*(index.count() for _ in range(5))) == [MANY] * 5
    assert pid_of(index) != killed
    os.kill(pid_of(index), signal.SIGKILL)
    await asyncio.to_thread(index._store.shard._process.wait)
    async with asyncio.timeout(60):
        while not index._store.shard.ended:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await index.upsert([Point(uid(MANY), vectors()[0], {"n": MANY})])
    assert await index.count() == MANY + 1
    await index.close()


async def test_the_next_process_killed_as_it_takes_over_leaves_the_index_as_it_was(
    folder, monkeypatch
):
    index = await filled(folder)
    start = ShardProcess.start

    async def killed(place, lock):
        shard = await start(place, lock)
        shard._process.kill()
        return shard

    monkeypatch.setattr(ShardProcess, "start", killed)
    with pytest.raises(IndexFailure, match="ended unexpectedly"):
        await index.optimize()
    monkeypatch.undo()
    assert await index.count() == MANY
    await index.upsert([Point(uid(MANY), vectors()[0], {"n": MANY})])
    await index.optimize()
    assert await index.count() == MANY + 1
    await index.close()


SERVER = """
    import asyncio, sys, time, uuid
    from pathlib import Path
    import numpy as np
    from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
    from lookalike_serving.index import edge_store
    from lookalike_serving.index.edge import EdgeIndex
    from lookalike_serving.index.protocol import Point

    edge_store.LARGE_BYTES = 0
    folder, stops_at = Path(sys.argv[1]), sys.argv[2]

    async def main():
        index = await EdgeIndex.open(
            folder, vector=VectorSpec(), dimension=64, fingerprint="a",
            fields=(FieldSpec(name="n", type=FieldType.INTEGER),),
        )
        store, written = index._store, asyncio.Event()
        take_over, write_manifest = store._take_over, store._folder.write_manifest

        async def after_the_writes(graphs):
            await written.wait()
            await take_over(graphs)

        async def stop(*_):
            print(store.shard._process.pid, flush=True)
            await asyncio.sleep(3600)

        def commit_and_stop(manifest):
            write_manifest(manifest)
            print(store.shard._process.pid, flush=True)
            time.sleep(3600)

        store._take_over = after_the_writes
        if stops_at == "committed":
            store._folder.write_manifest = commit_and_stop
        else:
            setattr(store, stops_at, stop)
        optimising = asyncio.create_task(store._optimize_copy())
        while store._touched is None:
            await asyncio.sleep(0.001)
        for n in range(800, 900):
            vector = np.random.default_rng(n).standard_normal(64, dtype=np.float32)
            await index.upsert([Point(str(uuid.UUID(int=n)), vector, {"n": n})])
            await index.delete([str(uuid.UUID(int=n - 800))])
        written.set()
        await optimising

    asyncio.run(main())
"""


async def stopped_server(folder: Path, stops_at: str) -> tuple[asyncio.subprocess.Process, int]:
    """A process in the middle of a take-over, and the process of its shard."""
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(SERVER),
        str(folder),
        stops_at,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    return server, int(await server.stdout.readline())


@pytest.mark.parametrize("stops_at", ["_catch_up", "_replace", "committed"])
async def test_a_server_killed_while_the_next_shard_takes_over_loses_nothing(folder, stops_at):
    await (await filled(folder)).close()
    server, _ = await stopped_server(folder, stops_at)
    server.kill()
    await server.wait()
    index = await opened(folder, lock_wait_seconds=60)
    kept = await index.scroll(limit=10_000)
    assert sorted(r.payload["n"] for r in kept.records) == list(range(100, 900))
    assert [path.name for path in folder.glob("shard-*")] == [
        "shard-2" if stops_at == "committed" else "shard-1"
    ]
    await index.close()


async def test_a_killed_servers_index_is_not_opened_before_its_shards_process_has_ended(folder):
    await (await filled(folder)).close()
    server, shard = await stopped_server(folder, "_replace")
    os.kill(shard, signal.SIGSTOP)
    server.kill()
    await server.wait()
    with pytest.raises(IndexUnavailable, match="already open"):
        await opened(folder, lock_wait_seconds=0.2)
    os.kill(shard, signal.SIGCONT)
    index = await opened(folder, lock_wait_seconds=60)
    assert await index.count() == MANY
    await index.close()


async def test_a_long_call_does_not_stop_the_servers_loop(folder):
    """The shard's process sleeps; other coroutines do not notice."""
    index = await filled(folder)
    shard = pid_of(index)
    os.kill(shard, signal.SIGSTOP)
    flushing = asyncio.create_task(index._store.call(ShardEngine.flush))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not flushing.done()
    os.kill(shard, signal.SIGCONT)
    await flushing
    await index.close()


async def test_a_search_waits_for_one_write_however_many_write(folder, monkeypatch):
    index = await opened(folder)
    call = ShardProcess.call
    under_way, most = 0, 0

    async def counted(shard, operation, *args, **kwargs):
        nonlocal under_way, most
        writes = operation is ShardEngine.upsert
        under_way += writes
        most = max(most, under_way)
        try:
            return await call(shard, operation, *args, **kwargs)
        finally:
            under_way -= writes

    monkeypatch.setattr(ShardProcess, "call", counted)
    points = [Point(uid(n), v, {"n": n}) for n, v in enumerate(vectors())]
    async with asyncio.TaskGroup() as group:
        for start in range(0, MANY, 100):
            group.create_task(index.upsert(points[start : start + 100]))
    assert await index.count() == MANY
    assert most == 1
    await index.close()


async def test_closing_ends_the_process(folder):
    index = await filled(folder)
    process = index._store.shard._process
    await index.close()
    assert process.returncode is not None
    await (await opened(folder)).close()
