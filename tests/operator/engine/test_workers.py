"""Workers: failures are repeated and end nothing; the way down lets looks finish."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from lookalike_crds.backoff import Backoff
from lookalike_operator.cluster import ApiError
from lookalike_operator.engine.queue import KeyedQueue, Turn
from lookalike_operator.engine.workers import Verdict, Workers
from lookalike_operator.metrics import Metrics
from lookalike_operator.plan.model import Key

A, B = (Key("ImageCollection", "n", name) for name in "ab")


async def test_a_look_that_fails_is_repeated_and_counted_by_its_reason() -> None:
    queue = KeyedQueue(Backoff(base=0.001, cap=0.01))
    metrics = Metrics()
    seen: Counter[Key] = Counter()
    enough = asyncio.Event()

    async def look(turn: Turn) -> Verdict:
        seen[turn.key] += 1
        if seen[A] >= 3 and seen[B] >= 3:
            enough.set()
        if turn.key == A and seen[A] < 3:
            raise ApiError(500, "InternalError", "no")
        if turn.key == B and seen[B] < 3:
            raise RuntimeError("a defect")
        return Verdict()

    workers = Workers(queue, look, metrics, count=2, resync=600)
    workers.start()
    queue.add(A, "new")
    queue.add(B, "new")
    await asyncio.wait_for(enough.wait(), 20)
    await workers.drain(5)
    text = metrics.text().decode()
    counted = 'lookalike_operator_errors_total{kind="ImageCollection",reason="%s"} 2.0'
    assert counted % "InternalError" in text
    assert counted % "RuntimeError" in text


async def test_one_key_is_never_looked_at_by_two_workers() -> None:
    queue = KeyedQueue()
    flying: Counter[Key] = Counter()
    looks = 0
    enough = asyncio.Event()

    async def look(turn: Turn) -> Verdict:
        nonlocal looks
        flying[turn.key] += 1
        assert flying[turn.key] == 1
        queue.add(turn.key, "changed")
        for _ in range(5):
            await asyncio.sleep(0)
        flying[turn.key] -= 1
        looks += 1
        if looks >= 40:
            enough.set()
        return Verdict(again=0)

    workers = Workers(queue, look, Metrics(), count=4, resync=600)
    workers.start()
    queue.add(A, "new")
    queue.add(B, "new")
    await asyncio.wait_for(enough.wait(), 20)
    assert workers.alive
    await workers.drain(5)


@pytest.mark.parametrize(("seconds", "finished"), [(20.0, True), (0.0, False)])
async def test_on_the_way_down_a_look_may_finish_within_its_time(
    seconds: float, finished: bool
) -> None:
    queue = KeyedQueue()
    begun, go = asyncio.Event(), asyncio.Event()
    ended = False

    async def look(turn: Turn) -> Verdict:
        nonlocal ended
        begun.set()
        await go.wait()
        ended = True
        return Verdict()

    workers = Workers(queue, look, Metrics(), count=1, resync=600)
    workers.start()
    queue.add(A, "new")
    await asyncio.wait_for(begun.wait(), 20)
    draining = asyncio.create_task(workers.drain(seconds))
    if finished:
        await asyncio.sleep(0)
        go.set()
    await asyncio.wait_for(draining, 20)
    assert ended is finished
    assert not workers.alive


async def test_when_the_right_to_act_is_lost_no_look_goes_on() -> None:
    queue = KeyedQueue()
    begun = asyncio.Event()
    ended = False

    async def look(turn: Turn) -> Verdict:
        nonlocal ended
        begun.set()
        await asyncio.sleep(60)
        ended = True
        return Verdict()

    workers = Workers(queue, look, Metrics(), count=2, resync=600)
    workers.start()
    queue.add(A, "new")
    await asyncio.wait_for(begun.wait(), 20)
    workers.abort()
    queue.add(B, "new")
    await asyncio.wait_for(workers.drain(0), 20)
    assert not ended
