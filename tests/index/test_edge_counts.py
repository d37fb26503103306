"""What was counted is remembered until the index is written to, and never longer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike_crds.image_collection import FieldSpec, FieldType, VectorSpec
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.edge_counts import EdgeCounts
from lookalike_serving.index.filters.equality import Equals
from lookalike_serving.index.filters.ranges import Bound
from lookalike_serving.index.protocol import Choice, Point, ValueCounts

VECTOR = np.ones(2, np.float32)
ALL = Choice(limit=10)
FIELDS = (FieldSpec(name="n", type=FieldType.INTEGER),)


def point(number: int, **payload: Any) -> Point:
    return Point(str(uuid.UUID(int=number)), VECTOR, payload)


async def opened(folder: Path, fields: tuple[FieldSpec, ...] = FIELDS) -> EdgeIndex:
    return await EdgeIndex.open(
        folder / "index", vector=VectorSpec(), dimension=2, fingerprint="a", fields=fields
    )


class Counter:
    """Answers 1, 2, 3, …: how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        return self.asked


async def test_what_was_counted_is_not_counted_again_until_a_write_ends():
    counts, count = EdgeCounts(), Counter()
    assert [await counts.told(("count", "a"), count) for _ in range(3)] == [1, 1, 1]
    with counts.changing():
        assert await counts.told(("count", "a"), count) == 1
    assert await counts.told(("count", "a"), count) == 2


async def test_who_asks_the_same_at_once_is_answered_by_one_count():
    counts, count = EdgeCounts(), Counter()
    assert await asyncio.gather(*(counts.told(("count", "a"), count) for _ in range(5))) == [1] * 5


async def test_a_count_that_a_write_overtakes_is_not_remembered():
    counts, written = EdgeCounts(), asyncio.Event()

    async def slow() -> str:
        await written.wait()
        return "of before the write"

    async def quick() -> str:
        return "of after it"

    told = asyncio.create_task(counts.told(("count",), slow))
    await asyncio.sleep(0)
    with counts.changing():
        pass
    written.set()
    assert await told == "of before the write"
    assert await counts.told(("count",), quick) == "of after it"


async def test_a_write_that_fails_is_a_write_all_the_same():
    counts, count = EdgeCounts(), Counter()
    await counts.told(("count",), count)
    with pytest.raises(OSError, match="full"), counts.changing():
        raise OSError("full")
    assert await counts.told(("count",), count) == 2


async def test_the_values_that_are_remembered_are_bounded():
    counts, asked = EdgeCounts(), []

    async def many() -> ValueCounts:
        asked.append(1)
        return ValueCounts(tuple((n, 1) for n in range(50_000)), None, False)

    for number in range(5):
        await counts.told((number,), many)
    await counts.told((4,), many)
    assert len(asked) == 5
    await counts.told((0,), many)
    assert len(asked) == 6


async def test_values_that_python_calls_equal_are_counted_apart(folder):
    index = await opened(folder, fields=())
    await index.upsert([point(1, n=1), point(2, n=1.0), point(3, n=True), point(4, n="1")])
    told = [await index.count(Equals("n", value)) for value in (1, True, "1", 1.0)]
    assert told == [2, 1, 1, 2]
    await index.close()


Write = Callable[[EdgeIndex], Awaitable[None]]


@pytest.mark.parametrize(
    ("write", "values"),
    [
        (lambda index: index.upsert([point(3, n=7)]), {5: 2, 7: 1}),
        (lambda index: index.merge_payload(point(1).id, {"n": 6}), {5: 1, 6: 1}),
        (lambda index: index.replace_payload(point(1).id, {}), {5: 1}),
        (lambda index: index.delete([point(1).id]), {5: 1}),
    ],
    ids=["upsert", "merge", "replace", "delete"],
)
async def test_each_kind_of_write_is_counted(folder, write: Write, values: dict[int, int]):
    index = await opened(folder)
    await index.upsert([point(1, n=5), point(2, n=5)])
    among = Bound("n", "gte", 0)
    assert (await index.count(among), await index.extent("n")) == (2, (5, 5))
    assert dict((await index.facet("n", ALL)).counts) == {5: 2}
    await write(index)
    assert await index.count(among) == sum(values.values())
    assert await index.extent("n") == (min(values), max(values))
    assert dict((await index.facet("n", ALL)).counts) == values
    await index.close()


async def test_other_fields_are_counted_anew(folder):
    index = await opened(folder)
    await index.upsert([point(1, n=5), point(2, n="5")])
    assert dict((await index.facet("n", ALL)).counts) == {5: 1}
    await index.take_fields((FieldSpec(name="n", type=FieldType.KEYWORD),))
    assert dict((await index.facet("n", ALL)).counts) == {"5": 1}
    await index.close()
