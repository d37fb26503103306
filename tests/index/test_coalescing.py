"""Queries that share a call of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lookalike_serving.index.coalescing import Coalescing


class Engine:
    """Doubles numbers when it is let; refuses negative ones."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.free = asyncio.Event()
        self.asking = Coalescing[int, int](self.one, self.many, most=4)

    async def one(self, number: int) -> int:
        return (await self.many([number]))[0]

    async def many(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        await self.free.wait()
        if any(number < 0 for number in numbers):
            raise ValueError(f"{min(numbers)} is negative")
        return [2 * number for number in numbers]


async def asked(engine: Engine, numbers: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(engine.asking.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    return tasks


async def test_those_who_come_while_the_engine_is_busy_share_the_next_calls() -> None:
    engine = Engine()
    tasks = await asked(engine, range(10))
    assert engine.calls == [[0], [1]]
    engine.free.set()
    assert await asyncio.gather(*tasks) == [2 * number for number in range(10)]
    assert engine.calls == [[0], [1], [2, 3, 4, 5], [6, 7, 8, 9]]
    assert await engine.asking.ask(7) == 14
    assert engine.calls[-1] == [7]


async def test_a_query_that_is_refused_fails_alone() -> None:
    engine = Engine()
    tasks = await asked(engine, [1, 2, 3, -4, 5])
    engine.free.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in told if not isinstance(each, Exception)] == [2, 4, 6, 10]
    with pytest.raises(ValueError, match="-4 is negative"):
        tasks[3].result()
    assert await engine.asking.ask(1) == 2


async def test_who_gives_up_is_left_out_and_blocks_nobody() -> None:
    engine = Engine()
    tasks = await asked(engine, range(6))
    tasks[1].cancel()  # is being served
    tasks[3].cancel()  # waits
    engine.free.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [told[n] for n in (0, 2, 4, 5)] == [0, 4, 8, 10]
    assert all(isinstance(told[n], asyncio.CancelledError) for n in (1, 3))
    assert 3 not in [number for call in engine.calls for number in call]
    assert await asyncio.gather(*await asked(engine, range(3))) == [0, 2, 4]
