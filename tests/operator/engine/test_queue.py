"""The keyed queue: one look per key, never two at a time, in the order keys became due."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_crds.backoff import Backoff
from lookalike_operator.engine.queue import KeyedQueue, Turn
from lookalike_operator.plan.model import Key

A, B, C = (Key("Retriever", "n", name) for name in "abc")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def queue(clock: Clock) -> KeyedQueue:
    return KeyedQueue(Backoff(base=1.0, cap=60.0), clock=clock, chance=lambda: 0.5)


async def taken(queue: KeyedQueue) -> Turn:
    turn = await asyncio.wait_for(queue.take(), 5)
    assert turn is not None
    return turn


async def test_a_key_added_many_times_is_looked_at_once_with_all_the_reasons(
    queue: KeyedQueue,
) -> None:
    for reason in ("x", "y", "x"):
        queue.add(A, reason)
    assert (await taken(queue)).reasons == ("x", "y")
    assert queue.depth == 0


async def test_a_key_added_while_it_is_looked_at_is_looked_at_once_more_afterwards(
    queue: KeyedQueue,
) -> None:
    queue.add(A, "first")
    await taken(queue)
    queue.add(A, "second")
    queue.add(A, "third")
    assert queue.depth == 0
    queue.done(A)
    assert (await taken(queue)).reasons == ("second", "third")


async def test_keys_are_taken_in_the_order_in_which_they_became_due(
    queue: KeyedQueue, clock: Clock
) -> None:
    queue.add(C, "later", after=2)
    queue.add(B, "soon", after=1)
    queue.add(A, "now")
    clock.now += 3
    assert [(await taken(queue)).key for _ in range(3)] == [A, B, C]


async def test_the_earliest_time_counts(queue: KeyedQueue, clock: Clock) -> None:
    queue.add(A, "resync", after=600)
    queue.add(A, "due", after=15)
    queue.add(A, "resync", after=600)
    clock.now += 14
    assert queue.depth == 0
    clock.now += 1
    assert (await taken(queue)).reasons == ("resync", "due")
    clock.now += 1000
    assert queue.depth == 0


async def test_an_event_now_overtakes_a_look_that_was_due_later(queue: KeyedQueue) -> None:
    queue.add(A, "resync", after=600)
    queue.add(A, "changed")
    assert (await taken(queue)).key == A


async def test_each_failure_in_a_row_waits_longer_up_to_a_cap(
    queue: KeyedQueue, clock: Clock
) -> None:
    waits = []
    queue.add(A, "changed")
    for _ in range(9):
        await taken(queue)
        waits.append(queue.failed(A, "again"))
        queue.done(A)
        clock.now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_events_do_not_cut_a_backoff_short(queue: KeyedQueue, clock: Clock) -> None:
    queue.add(A, "changed")
    await taken(queue)
    queue.add(A, "changed again")
    queue.failed(A, "again", at_least=30)
    queue.done(A)
    queue.add(A, "and again")
    assert queue.depth == 0
    clock.now += 29
    assert queue.depth == 0
    clock.now += 1
    assert (await taken(queue)).key == A


async def test_success_ends_the_backoff(queue: KeyedQueue) -> None:
    queue.add(A, "changed")
    await taken(queue)
    queue.failed(A, "again")
    queue.done(A)
    queue.succeeded(A)
    queue.add(A, "another spec")
    assert (await taken(queue)).key == A


async def test_what_is_gone_is_not_looked_at_again(queue: KeyedQueue, clock: Clock) -> None:
    queue.add(A, "resync", after=10)
    queue.forget(A)
    clock.now += 100
    assert queue.depth == 0


async def test_who_waits_is_woken_by_an_add_by_time_and_by_the_end() -> None:
    queue = KeyedQueue()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add(A, "now")
    turn = await asyncio.wait_for(waiting, 5)
    assert turn is not None
    queue.done(A)
    queue.add(B, "soon", after=0.01)
    turn = await asyncio.wait_for(queue.take(), 5)
    assert turn is not None
    assert turn.key == B
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.wait_for(waiting, 5) is None


async def test_a_busy_key_does_not_starve_the_others(queue: KeyedQueue) -> None:
    for key in (A, B, C):
        queue.add(key, "changed")
    order = []
    for _ in range(9):
        turn = await taken(queue)
        order.append(turn.key)
        queue.add(turn.key, "changed by its own write")
        queue.done(turn.key)
    assert order == [A, B, C] * 3


Step = st.tuples(
    st.sampled_from(["add", "later", "take", "fail", "done", "tick"]),
    st.sampled_from([A, B, C]),
    st.floats(0, 5),
)


@given(st.lists(Step, max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_add_is_ever_lost_and_no_key_flies_twice(steps: list[tuple[str, Key, float]]) -> None:
    async def run() -> None:
        clock = Clock()
        queue = KeyedQueue(clock=clock, chance=lambda: 0.5)
        flying: set[Key] = set()
        owed: set[Key] = set()
        for what, key, seconds in steps:
            if what == "add":
                queue.add(key, "x")
                owed.add(key)
            elif what == "later":
                queue.add(key, "x", after=seconds)
                owed.add(key)
            elif what == "take" and queue.depth:
                turn = await taken(queue)
                assert turn.key not in flying
                flying.add(turn.key)
                owed.discard(turn.key)
            elif what == "fail" and key in flying:
                queue.failed(key, "x")
                owed.add(key)
            elif what == "done" and key in flying:
                flying.discard(key)
                queue.done(key)
            else:
                clock.now += seconds
        for key in flying:
            queue.done(key)
        clock.now += 1e6
        while queue.depth:
            turn = await taken(queue)
            owed.discard(turn.key)
            queue.done(turn.key)
        assert not owed

    asyncio.run(run())
