"""What a batch does when an item's work fails: the row of the table of failures says it."""

from __future__ import annotations

import asyncio

import pytest

from lookalike_crds.failures import FAILURES, FailureKind, Retry
from lookalike_serving.batches.record import Item
from lookalike_serving.batches.work import Halted, Work

_PAUSES = (0.0, 0.0)


@pytest.mark.parametrize("row", FAILURES, ids=str)
async def test_an_item_fails_waits_or_halts_the_batch_as_its_row_says(row: FailureKind) -> None:
    class Failing(Exception):
        failure_kind = row

    tries = 0

    async def fetch(url: str) -> bytes:
        return b"image"

    async def store(collection: str, image: bytes, item: Item) -> tuple[str, ...]:
        nonlocal tries
        tries += 1
        raise Failing("told")

    class Room:
        def check_room(self) -> None: ...

    work = Work(fetch, store, Room(), asyncio.Semaphore(1), _PAUSES)  # type: ignore[arg-type]
    item = Item(
        batch="b", position=0, image="https://example.com/a.png", document_id="a", metadata={}
    )
    if row.concerns_all:
        with pytest.raises(Halted) as halted:
            await work.do("shoes", item, asyncio.Event())
        cause = halted.value.cause
    else:
        outcome = await work.do("shoes", item, asyncio.Event())
        assert outcome.error is not None
        cause = outcome.error
    assert cause.code == row.code
    waits = row.concerns_all and row.retry is Retry.LATER
    assert tries == (1 + len(_PAUSES) if waits else 1)
