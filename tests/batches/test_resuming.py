"""Batches through the end of their process, orderly or not."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import Shelf, open_desk, until

from lookalike_serving.batches import runner
from lookalike_serving.batches.record import (
    BatchState,
    OnError,
    Order,
    Progress,
    new_batch_id,
)
from lookalike_serving.images import ImageFile

ITEMS = 400
BEFORE_THE_END = 300
"""Items the victim stores at most: however late the kill comes, it comes in the middle."""
VICTIM = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import pytest
from desk import Shelf, open_desk

async def main() -> None:
    items, most = int(sys.argv[3]), int(sys.argv[4])
    begun = 0
    shelf = Shelf()
    async def note(item):
        nonlocal begun
        begun += 1
        if begun > most:
            await asyncio.Event().wait()
        await asyncio.sleep(0.002)
        print(item.document_id, flush=True)
    shelf.before = note
    desk = await open_desk(Path(sys.argv[1]), shelf)
    desk.batches.start()
    batch = await desk.submit(*(f"image {n}".encode() for n in range(items)))
    print("batch", batch.order.id, flush=True)
    while (await desk.batches.batch(batch.order.id)).counts.succeeded < most:
        await asyncio.sleep(0.02)
    print("noted", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def killed_when(folder: Path, enough: Callable[[list[str]], bool]) -> list[str]:
    """What a process printed that ran a batch until SIGKILL, sent once `enough` was printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, str(folder), str(Path(__file__).parent), str(ITEMS),
        str(BEFORE_THE_END), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    printed: list[str] = []
    try:
        async with asyncio.timeout(120):
            while not enough(printed):
                line = await process.stdout.readline()
                assert line, f"the victim ended by itself: {printed[-3:]}"
                printed.append(line.decode().strip())
    finally:
        process.send_signal(signal.SIGKILL)
        rest, _ = await process.communicate()
    return printed + rest.decode().split("\n")


async def finished_by_another(folder: Path, printed: list[str]) -> tuple[set[str], Shelf]:
    """(what the victim began to store, what another process stored to finish its batch)."""
    before = {line for line in printed if line.startswith("d")}
    (id,) = (line.split()[1] for line in printed if line.startswith("batch"))
    shelf = Shelf()
    desk = await open_desk(folder, shelf)
    found = await desk.batches.batch(id)
    assert found.state is BatchState.RUNNING
    desk.batches.start()
    done = await desk.end(found)
    await desk.close()
    assert done.state is BatchState.COMPLETED
    assert done.counts.succeeded == ITEMS
    assert before | set(shelf.stored) == {f"d{n}" for n in range(ITEMS)}
    assert set(shelf.stored.values()) == {1}
    return before, shelf


async def test_a_killed_process_leaves_a_batch_that_another_finishes(tmp_path: Path):
    printed = await killed_when(tmp_path, lambda printed: len(printed) >= 150)
    before, _ = await finished_by_another(tmp_path, printed)
    assert 100 < len(before) < ITEMS


async def test_what_was_noted_before_the_kill_is_not_done_again(tmp_path: Path):
    printed = await killed_when(tmp_path, lambda printed: "noted" in printed)
    before, shelf = await finished_by_another(tmp_path, printed)
    assert len(before) == BEFORE_THE_END
    assert before & set(shelf.stored) == set()


async def test_a_batch_goes_on_after_an_orderly_restart_without_repeating(restart, shelf):
    desk = await restart()
    enough = asyncio.Event()

    async def slowly(item):
        await asyncio.sleep(0.002)
        if len(shelf.stored) > 50:
            enough.set()

    shelf.before = slowly
    batch = await desk.submit(*(f"image {n}".encode() for n in range(300)))
    async with asyncio.timeout(60):
        await enough.wait()
    desk = await restart()
    done = await desk.end(batch)
    assert done.state is BatchState.COMPLETED
    assert len(shelf.stored) == 300
    # Only items cut off in the middle of being stored are begun again.
    assert sum(shelf.stored.values()) <= 300 + 16


async def test_a_cancelled_batch_stays_cancelled_after_a_restart(restart, shelf):
    desk = await restart()
    waiting = asyncio.Event()
    shelf.before = lambda item: waiting.wait()
    batch = await desk.submit(b"one", b"two")
    await desk.batches.cancel(batch.order.id)
    desk = await restart()
    assert (await desk.end(batch)).state is BatchState.CANCELLED
    assert shelf.stored == {}


async def test_what_a_request_left_that_never_ended_is_removed_at_the_start(restart):
    desk = await restart()
    then = datetime.now(UTC) - timedelta(minutes=1)
    order = Order(new_batch_id(then), "shop", 0, OnError.CONTINUE, then)
    await desk.store.reserve(order)
    desk.staging.put(order.id, "item-0", ImageFile.of(b"bytes"))
    assert (await desk.batches.page(None, None, None, 10))[0] == []
    desk = await restart()

    async def nothing_left():
        return not (await desk.index.count() or desk.staging.batches())

    await until(nothing_left)


async def test_a_request_in_the_moment_of_the_start_is_not_taken_for_debris(
    restart, monkeypatch: pytest.MonkeyPatch
):
    """Ids know milliseconds only: this one seems older than the service that made it."""

    class Now(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 5, 1, 12, 0, 0, 1_900, tzinfo=tz)

    monkeypatch.setattr(runner, "datetime", Now)
    desk = await restart()
    desk.staging.put(new_batch_id(Now.now(UTC)), "item-0", ImageFile.of(b"bytes"))
    debris = new_batch_id(Now.now(UTC) - timedelta(milliseconds=1))
    desk.staging.put(debris, "item-0", ImageFile.of(b"bytes"))

    async def swept():
        return debris not in desk.staging.batches()

    await until(swept)
    assert len(desk.staging.batches()) == 1


async def test_batches_are_removed_a_month_after_their_end(restart):
    desk = await restart()
    ended = datetime.now(UTC) - runner.RETENTION - timedelta(days=1)
    order = Order(new_batch_id(ended), "shop", 0, OnError.CONTINUE, ended)
    await desk.store.publish(
        order, Progress(state=BatchState.COMPLETED, finished_at=ended), key=None
    )
    kept = await desk.end(await desk.submit(b"one"))
    desk = await restart()

    async def gone():
        return await desk.store.batch(order.id) is None

    await until(gone)
    assert (await desk.batches.batch(kept.order.id)).state is BatchState.COMPLETED


async def test_another_replicas_batch_is_left_alone_while_its_heart_beats(tmp_path: Path):
    shelf = Shelf()
    desk = await open_desk(tmp_path, shelf)
    desk.batches._runner._alone = False
    batch = await desk.submit(b"one")
    theirs = Progress(
        state=BatchState.RUNNING, untried=1, owner="other", heartbeat=datetime.now(UTC)
    )
    await desk.store.save_progress(batch.order.id, theirs)
    assert not desk.batches._runner._free(await desk.batches.batch(batch.order.id))
    silent = Progress(
        state=BatchState.RUNNING,
        untried=1,
        owner="other",
        heartbeat=datetime.now(UTC) - 2 * runner.LEASE,
    )
    await desk.store.save_progress(batch.order.id, silent)
    desk.batches.start()
    assert (await desk.end(batch)).state is BatchState.COMPLETED
    await desk.close()
