"""What only Edge has: a folder, a lock, and optimising on a copy – whatever is killed when."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookalike_crds.image_collection import FieldSpec, FieldType, Quantization, VectorSpec
from lookalike_serving.index import edge_growth, edge_settings, edge_store
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.edge_folder import EdgeFolder
from lookalike_serving.index.edge_growth import Occasion, Share
from lookalike_serving.index.edge_optimize import ShardOptimizer
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.protocol import (
    IndexFailure,
    IndexMismatch,
    IndexRefused,
    IndexUnavailable,
    Point,
    Query,
)

MANY, WIDE = 800, 64
FEW = Share(50 * 1024, 0.0)
NEVER = Share(10**12, 1.0)


@pytest.fixture(autouse=True)
def _small_indexes_are_worth_optimising(monkeypatch):
    """From 50 KB of vectors instead of 10 MB, so that optimising takes no time."""
    monkeypatch.setattr(edge_settings, "INDEXING_THRESHOLD_KB", 50)
    monkeypatch.setattr(edge_growth, "ASKED", Occasion(FEW, FEW))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def uid(number: int) -> str:
    return str(uuid.UUID(int=number))


def vectors(count: int = MANY, dimension: int = WIDE) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, dimension), dtype=np.float32)


async def opened(
    folder: Path, dimension: int = 4, vector: VectorSpec | None = None, **settings
) -> EdgeIndex:
    settings.setdefault("lock_wait_seconds", 0)
    return await EdgeIndex.open(
        folder, vector=vector or VectorSpec(), dimension=dimension, fingerprint="a", **settings
    )


async def filled(folder: Path, **settings) -> EdgeIndex:
    """An index that waits for an optimisation."""
    index = await opened(folder, WIDE, **settings)
    await index.upsert([Point(uid(n), v, {"n": n}) for n, v in enumerate(vectors())])
    return index


def shards(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.glob("shard-*"))


def in_child(code: str, folder: Path) -> subprocess.Popen[str]:
    """A Python process that runs `code`, in which `folder` is the index's."""
    program = f"import asyncio, sys\nfrom pathlib import Path\nfolder = Path({str(folder)!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", program + textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


HOLD = """
    from lookalike_crds.image_collection import VectorSpec
    from lookalike_serving.index.edge import EdgeIndex

    async def main():
        index = await EdgeIndex.open(folder, vector=VectorSpec(), dimension=4, fingerprint="a")
        print("open", flush=True)
        sys.stdin.read()
        await index.close()

    asyncio.run(main())
"""


# The process is killed


async def test_every_acknowledged_write_survives_sigkill(folder):
    child = in_child(
        """
        import itertools, uuid
        import numpy as np
        from lookalike_crds.image_collection import VectorSpec
        from lookalike_serving.index.edge import EdgeIndex
        from lookalike_serving.index.protocol import Point

        async def main():
            index = await EdgeIndex.open(folder, vector=VectorSpec(), dimension=4, fingerprint="a")
            for n in itertools.count():
                id = str(uuid.UUID(int=n))
                await index.upsert([Point(id, np.ones(4, np.float32), {"n": n})])
                if n % 3 == 0:
                    await index.merge_payload(id, {"third": True})
                if n % 7 == 0:
                    await index.delete([id])
                print(n, flush=True)

        asyncio.run(main())
        """,
        folder,
    )
    acknowledged = -1
    while acknowledged < 500:
        acknowledged = int(child.stdout.readline())
    child.kill()
    rest = child.stdout.read().split()
    child.wait()
    acknowledged = int(rest[-1]) if rest else acknowledged
    index = await opened(folder)
    stored = {r.id: r.payload for r in (await index.scroll(limit=10_000)).records}
    await index.close()
    for n in range(acknowledged + 1):
        if n % 7 == 0:
            assert uid(n) not in stored
        else:
            assert stored[uid(n)] == {"n": n} | ({"third": True} if n % 3 == 0 else {})


async def test_a_process_killed_while_it_optimises_loses_nothing(folder):
    index = await filled(folder)
    await index.close()
    child = in_child(
        HOLD.replace("dimension=4", f"dimension={WIDE}").replace(
            "sys.stdin.read()", "await index._store._optimize_copy()"
        ),
        folder,
    )
    assert child.stdout.readline() == "open\n"
    await until(lambda: len(shards(folder)) == 2)
    child.kill()
    child.wait()
    index = await opened(folder, WIDE)
    assert len(shards(folder)) == 1
    assert await index.count() == MANY
    await index.close()


# The lock


async def test_a_folder_that_another_process_has_open_is_refused_by_name(folder):
    child = in_child(HOLD, folder)
    child.stdout.readline()
    with pytest.raises(IndexUnavailable, match=f"{folder} is already open in process {child.pid}"):
        await opened(folder, lock_wait_seconds=0.1)
    child.communicate("")


async def test_a_holder_that_is_ending_is_waited_for(folder):
    child = in_child(HOLD, folder)
    child.stdout.readline()
    opening = asyncio.create_task(opened(folder, lock_wait_seconds=60))
    await asyncio.sleep(0.1)
    assert not opening.done()
    child.stdin.close()
    await (await opening).close()
    child.wait()


async def test_a_folder_that_is_dropped_while_it_is_waited_for_is_made_anew(folder):
    dropping = await EdgeFolder.acquire(folder, 0)
    opening = asyncio.create_task(opened(folder, lock_wait_seconds=60))
    await asyncio.sleep(0)
    dropping.drop()
    index = await opening
    await index.upsert([Point(uid(1), np.ones(4, dtype=np.float32), {})])
    await index.close()
    again = await opened(folder)
    assert await again.count() == 1
    await again.close()


async def test_a_failed_opening_releases_the_folder(folder):
    await (await opened(folder)).close()
    with pytest.raises(IndexMismatch):
        await opened(folder, dimension=5)
    await (await opened(folder)).close()


async def test_a_closed_index_says_so(folder):
    index = await opened(folder)
    await index.close()
    await index.close()
    with pytest.raises(IndexUnavailable, match="is closed"):
        await index.count()
    with pytest.raises(IndexUnavailable, match="is closed"):
        await index.upsert([Point(uid(1), np.ones(4, np.float32), {})])


# The folder is damaged


async def test_a_folder_deleted_while_open_takes_no_writes(folder):
    index = await opened(folder / "index")
    shutil.rmtree(folder / "index")
    with pytest.raises(IndexUnavailable, match="was deleted or replaced while open"):
        await index.upsert([Point(uid(1), np.ones(4, np.float32), {})])
    await index.close()


async def test_a_deleted_folder_is_made_anew(folder):
    index = await opened(folder / "index")
    await index.upsert([Point(uid(1), np.ones(4, np.float32), {})])
    await index.close()
    shutil.rmtree(folder / "index")
    index = await opened(folder / "index")
    assert await index.count() == 0
    await index.close()


async def damaged(folder: Path, damage) -> IndexFailure:
    index = await opened(folder)
    await index.upsert([Point(uid(n), np.ones(4, np.float32), {"n": n}) for n in range(10)])
    await index.close()
    damage(folder)
    with pytest.raises(IndexFailure) as raised:
        await opened(folder)
    return raised.value


def empty_files(folder: Path) -> None:
    for file in folder.rglob("segments/*/*/*.dat"):
        file.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "lookalike.json").write_text("{"), "lookalike.json cannot be read"),
        (lambda f: (f / "lookalike.json").write_text('{"version": 9}'), "cannot be read"),
        (lambda f: (f / "lookalike.json").unlink(), "lookalike.json"),
        (lambda f: shutil.rmtree(f / "shard-1"), "are gone"),
        (lambda f: (f / "shard-1" / "edge_config.json").write_text("junk"), "edge_config.json"),
        (empty_files, "opening the index in"),
    ],
    ids=["manifest cut", "manifest newer", "manifest gone", "shard gone", "config", "files empty"],
)
async def test_a_damaged_folder_is_refused_with_its_name_and_a_remedy(folder, damage, message):
    failure = await damaged(folder, damage)
    assert message in str(failure)
    assert str(folder) in str(failure)
    assert "delete" in str(failure) or "restore" in str(failure)


async def test_a_folder_of_other_files_is_left_alone(folder):
    (folder / "holiday.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(IndexMismatch, match=r"has other files \(holiday.jpg\)"):
        await opened(folder)
    assert (folder / "holiday.jpg").exists()


async def test_a_creation_that_was_killed_is_repeated(folder):
    index = await opened(folder)
    await index.close()
    (folder / "lookalike.json").unlink()
    index = await opened(folder)
    assert await index.count() == 0
    await index.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_refused(folder):
    folder.chmod(0o500)
    with pytest.raises(IndexFailure, match="cannot be used"):
        await opened(folder / "index")


async def test_a_file_in_the_folders_place_is_refused(folder):
    (folder / "index").write_text("")
    with pytest.raises(IndexFailure, match="choose a folder that can be written"):
        await opened(folder / "index")


# Optimising


@pytest.mark.parametrize("quantization", list(Quantization))
async def test_optimising_indexes_the_vectors_and_keeps_the_answers(folder, quantization):
    index = await filled(folder, vector=VectorSpec(quantization=quantization))
    query = Query(vectors()[17], limit=1)
    before = await index.query(query)
    assert (await index.info()).status == "grey"
    await index.optimize()
    info = await index.info()
    assert (info.indexed_vectors, info.status) == (info.points, "green")
    after = await index.query(query)
    assert [hit.id for hit in after] == [hit.id for hit in before] == [uid(17)]
    assert after[0].score == pytest.approx(1, abs=1e-3)
    assert shards(folder) == ["shard-2"]
    await index.close()


async def test_queries_and_writes_go_on_while_it_optimises_and_no_write_is_lost(folder):
    index = await filled(folder, fields=(FieldSpec(name="n", type=FieldType.INTEGER),))
    optimising = asyncio.create_task(index.optimize())
    fresh = vectors(300) + 1
    statuses, written, answered = set(), 0, 0
    while not optimising.done():
        if written < len(fresh):
            n = MANY + written
            await index.upsert([Point(uid(n), fresh[written], {"n": n})])
            await index.delete([uid(written)])
            await index.merge_payload(uid(400 + written), {"merged": True})
            written += 1
        answered += len(await index.query(Query(fresh[0], limit=1)))
        statuses.add((await index.info()).status)
        await asyncio.sleep(0.001)
    await optimising
    assert "yellow" in statuses
    assert answered > 10
    assert written > 10
    assert await index.count() == MANY
    assert await index.count(condition("n", "gte", MANY)) == written
    assert await index.count(condition("n", "lt", written)) == 0
    assert await index.count(condition("merged", "eq", True)) == written
    assert [h.id for h in await index.query(Query(fresh[3], limit=1))] == [uid(MANY + 3)]
    await index.close()
    index = await opened(folder, WIDE, fields=(FieldSpec(name="n", type=FieldType.INTEGER),))
    assert await index.count(condition("n", "gte", MANY)) == written
    await index.close()


async def test_a_write_does_not_wait_for_the_copy_of_the_shard(folder, monkeypatch):
    released = threading.Event()
    wait = ShardOptimizer.wait_nearly_copied

    def held(optimizer):
        wait(optimizer)
        assert released.wait(60)

    monkeypatch.setattr(ShardOptimizer, "wait_nearly_copied", held)
    index = await filled(folder)
    optimising = asyncio.create_task(index.optimize())
    await until(lambda: index._store._optimizer is not None)
    late = -vectors()[0]
    async with asyncio.timeout(30):
        await index.upsert([Point(uid(MANY), late, {})])
        await index.delete([uid(1)])
    assert not optimising.done()
    released.set()
    await optimising
    for _ in range(2):
        assert await index.count() == MANY
        assert [hit.id for hit in await index.query(Query(late, limit=1))] == [uid(MANY)]
        await index.close()
        index = await opened(folder, WIDE)
    await index.close()


async def test_filters_mean_the_same_after_optimising(folder):
    fields = tuple(
        FieldSpec(name=name, type=kind)
        for name, kind in (
            ("n", FieldType.INTEGER),
            ("t", FieldType.TEXT),
            ("k", FieldType.KEYWORD),
        )
    )
    index = await opened(folder, WIDE, fields=fields)
    kinds = ["mug", "mug cup", "Cup", None]
    await index.upsert(
        [
            Point(uid(n), v, {"n": n, "t": kinds[n % 4], "k": kinds[n % 4], "sold": n % 2 == 0})
            for n, v in enumerate(vectors())
        ]
    )
    asked = [
        condition("n", "lt", 100),
        condition("t", "text", "cup"),
        condition("k", "starts_with", "mug"),
        condition("k", "contains", "up"),
        condition("k", "ne", "mug"),
        condition("k", "is_null", True),
        condition("sold", "eq", True),
    ]
    before = [await index.count(condition) for condition in asked]
    await index.optimize()
    assert [await index.count(condition) for condition in asked] == before
    assert before == [100] + [MANY // 2] * 3 + [3 * MANY // 4, MANY // 4, MANY // 2]
    await index.close()


async def test_an_index_without_work_is_not_copied(folder):
    index = await filled(folder)
    await index.optimize()
    await index.optimize()
    assert shards(folder) == ["shard-2"]
    await index.close()


async def test_points_written_again_are_indexed_again_even_after_reopening(folder):
    index = await filled(folder)
    await index.optimize()
    await index.upsert([Point(uid(n), -v, {}) for n, v in enumerate(vectors())])
    assert (await index.info()).status == "grey"
    await index.close()
    index = await opened(folder, WIDE)
    assert (await index.info()).status == "grey"
    await index.optimize()
    assert (await index.info()).status == "green"
    assert shards(folder) == ["shard-3"]
    await index.close()


async def test_much_deleted_space_is_reclaimed(folder, monkeypatch):
    monkeypatch.setattr(edge_growth, "VACUUM", (100, 0.2))
    index = await filled(folder)
    await index.optimize()
    await index.delete([uid(n) for n in range(MANY // 2)])
    await index.optimize()
    assert shards(folder) == ["shard-3"]
    assert await index.count() == MANY // 2
    await index.close()


async def test_a_failed_optimisation_says_so_and_the_index_goes_on(folder):
    index = await filled(folder)
    optimising = asyncio.create_task(index.optimize())
    await until(lambda: index._store._optimizer is not None)
    os.kill(index._store._optimizer._process.pid, signal.SIGKILL)
    with pytest.raises(IndexFailure, match="failed \\(signal 9"):
        await optimising
    await index.upsert([Point(uid(MANY), vectors()[0], {})])
    assert await index.count() == MANY + 1
    await index.optimize()
    assert (await index.info()).indexed_vectors == MANY + 1
    await index.close()


async def test_closing_gives_a_running_optimisation_up(folder):
    index = await filled(folder)
    optimising = asyncio.create_task(index.optimize())
    await until(lambda: index._store._optimizer is not None)
    await index.close()
    with pytest.raises(IndexFailure):
        await optimising
    index = await opened(folder, WIDE)
    assert await index.count() == MANY
    await index.close()


async def test_a_cancelled_optimisation_ends_its_process(folder):
    index = await filled(folder)
    optimising = asyncio.create_task(index.optimize())
    await until(lambda: index._store._optimizer is not None)
    process = index._store._optimizer._process
    optimising.cancel()
    with pytest.raises(asyncio.CancelledError):
        await optimising
    assert process.wait(5) == -signal.SIGKILL
    await index.upsert([Point(uid(MANY), vectors()[0], {})])
    await index.close()


async def test_a_quiet_index_optimises_by_itself(folder, monkeypatch):
    monkeypatch.setattr(edge_store, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(edge_growth, "IDLE", Occasion(Share(100_000, 0.02), NEVER))
    index = await filled(folder)
    await until(lambda: shards(folder) == ["shard-2"])
    assert (await index.info()).indexed_vectors == MANY
    await index.close()


async def test_an_index_that_is_never_quiet_optimises_by_itself(folder, monkeypatch):
    monkeypatch.setattr(edge_store, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(edge_growth, "IDLE", Occasion(NEVER, NEVER))
    index = await filled(folder)
    # Not before: one that begins while it is filled leaves what comes later to the next.
    monkeypatch.setattr(edge_growth, "BUSY", Occasion(Share(100_000, 0.02), NEVER))
    async with asyncio.timeout(120):
        while shards(folder) != ["shard-2"]:
            await index.merge_payload(uid(1), {"tick": True})
            await asyncio.sleep(0.01)
    # The point that was written meanwhile waits outside of the graph.
    assert (await index.info()).indexed_vectors >= MANY - 1
    await index.close()


async def test_a_disk_without_room_for_the_copy_is_reported(folder, monkeypatch):
    index = await filled(folder)
    monkeypatch.setattr(edge_store, "free_bytes", lambda _: 100_000)
    with pytest.raises(IndexFailure, match="of free disk space for its copy"):
        await index.optimize()
    assert await index.count() == MANY
    await index.close()


# The event loop


async def test_a_long_write_lets_other_coroutines_run(folder):
    index = await opened(folder, dimension=256)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    await index.upsert([Point(uid(n), v, {}) for n, v in enumerate(vectors(5000, 256))])
    counting.cancel()
    assert turns >= 30
    await index.close()


async def test_writing_a_refused_value_does_not_harm_the_next_opening(folder):
    index = await opened(folder)
    with pytest.raises(IndexRefused):
        await index.merge_payload(uid(9), {"a": 1})
    await index.close()
    index = await opened(folder)
    assert await index.count() == 0
    await index.close()
