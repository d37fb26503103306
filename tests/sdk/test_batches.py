"""Waiting for a batch."""

from __future__ import annotations

import pytest
from scripted_server import Reply, scripted

from lookalike import AsyncLookalike, BatchState, Lookalike


def batch(state: str, succeeded: int = 0) -> Reply:
    counts = {"total": 2, "queued": 2 - succeeded, "succeeded": succeeded}
    return Reply(body={"batch_id": "b", "state": state, "counts": counts})


def test_waiting_returns_the_batch_at_its_end() -> None:
    with scripted(batch("QUEUED"), batch("RUNNING", 1), batch("COMPLETED", 2)) as server:
        done = Lookalike(server.url).batches.wait("b", poll_seconds=0.01)
    assert done.state is BatchState.COMPLETED
    assert done.counts.succeeded == 2


@pytest.mark.parametrize("state", ["COMPLETED_WITH_ERRORS", "FAILED", "CANCELLED"])
def test_every_end_is_an_end(state: str) -> None:
    with scripted(batch(state)) as server:
        assert Lookalike(server.url).batches.wait("b").state == state


def test_a_batch_that_is_being_cancelled_is_waited_for() -> None:
    with scripted(batch("CANCELLING", 1), batch("CANCELLED", 2)) as server:
        done = Lookalike(server.url).batches.wait("b", poll_seconds=0.01)
    assert done.counts.succeeded == 2


def test_waiting_goes_on_through_a_restart_of_the_server() -> None:
    with scripted(batch("RUNNING"), Reply(503), batch("COMPLETED", 2)) as server:
        done = Lookalike(server.url).batches.wait("b", poll_seconds=0.01)
    assert done.state is BatchState.COMPLETED


def test_waiting_gives_up_after_its_timeout() -> None:
    with (
        scripted(batch("RUNNING")) as server,
        pytest.raises(TimeoutError, match=r"batch b is still RUNNING after 0\.05 s"),
    ):
        Lookalike(server.url).batches.wait("b", timeout=0.05, poll_seconds=0.01)


async def test_waiting_with_asyncio_is_the_same() -> None:
    with scripted(batch("QUEUED"), batch("COMPLETED", 2)) as server:
        async with AsyncLookalike(server.url) as client:
            done = await client.batches.wait("b", poll_seconds=0.01)
    assert done.state is BatchState.COMPLETED
