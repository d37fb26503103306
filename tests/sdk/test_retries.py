"""Which failures the client repeats, how long it waits, and what it raises in the end."""

from __future__ import annotations

import email.utils
import socket
from datetime import UTC, datetime, timedelta

import pytest
from scripted_server import Cut, Drop, Reply, scripted

from lookalike import (
    AsyncLookalike,
    ConnectionFailed,
    Lookalike,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    _exchange,
)
from lookalike._exchange import Failure, Pause, RetryPolicy, Send, exchange, retry_after
from lookalike._operations import batches
from lookalike_crds.failures import FAILURES, FailureKind

FOUND = Reply(body={"results": [{"document_id": "mug-1", "score": 0.9}], "took_ms": 1.0})
BUSY = Reply(503, {"title": "Service Unavailable", "detail": "The model is loading."})
QUERY = [{"type": "text", "value": "red mug"}]
BATCH = {"batch_id": "b1", "state": "QUEUED", "counts": {"total": 1, "queued": 1}}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_search_is_repeated_after_a_passing_refusal(status: int) -> None:
    with scripted(Reply(status), FOUND) as server, Lookalike(server.url) as client:
        results = client.retrievers.search("r", QUERY)
        assert [r.document_id for r in results] == ["mug-1"]
        assert len(server.seen) == 2


def test_a_search_is_repeated_while_nothing_answers_behind_the_ingress() -> None:
    with scripted(Reply(500, raw=b"Internal Server Error"), FOUND) as server:
        assert len(Lookalike(server.url).retrievers.search("r", QUERY)) == 1


@pytest.mark.parametrize("fault", [Drop(), Cut()])
def test_a_search_is_repeated_after_a_broken_connection(fault: Drop | Cut) -> None:
    with scripted(fault, FOUND) as server, Lookalike(server.url) as client:
        assert len(client.retrievers.search("r", QUERY)) == 1
        assert len(server.seen) == 2


async def test_the_asyncio_client_repeats_likewise() -> None:
    with scripted(Drop(), BUSY, FOUND) as server:
        async with AsyncLookalike(server.url) as client:
            assert len(await client.retrievers.search("r", QUERY)) == 1
        assert len(server.seen) == 3


def test_attempts_end_after_the_given_number() -> None:
    with scripted(BUSY) as server, Lookalike(server.url, retries=2) as client:
        with pytest.raises(ServiceUnavailable, match="The model is loading"):
            client.retrievers.search("r", QUERY)
        assert len(server.seen) == 3


def test_no_retries_means_one_attempt() -> None:
    with scripted(BUSY, FOUND) as server, Lookalike(server.url, retries=0) as client:
        with pytest.raises(ServiceUnavailable):
            client.retrievers.search("r", QUERY)
        assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 500])
def test_what_would_fail_again_is_not_repeated(status: int) -> None:
    with scripted(Reply(status, {"detail": "no"})) as server, Lookalike(server.url) as client:
        with pytest.raises(Exception, match="no"):
            client.retrievers.search("r", QUERY)
        assert len(server.seen) == 1


@pytest.mark.parametrize("fault", [Drop(), Reply(502), Reply(503), Reply(504)])
def test_retrying_a_batch_is_not_repeated_when_it_may_have_happened(fault: Drop | Reply) -> None:
    with scripted(fault, Reply(body=BATCH)) as server, Lookalike(server.url) as client:
        with pytest.raises((ConnectionFailed, ServiceUnavailable)):
            client.batches.retry("b1")
        assert len(server.seen) == 1


def test_retrying_a_batch_is_repeated_when_the_server_said_it_did_not_happen() -> None:
    with scripted(Reply(429), Reply(body=BATCH)) as server, Lookalike(server.url) as client:
        assert client.batches.retry("b1").batch_id == "b1"
        assert len(server.seen) == 2


def test_a_new_batch_keeps_its_idempotency_key_through_repetitions() -> None:
    with scripted(Drop(), Reply(202, BATCH)) as server, Lookalike(server.url) as client:
        client.batches.create("c", [{"image": "https://example.com/a.jpg"}])
        keys = [seen.headers["idempotency-key"] for seen in server.seen]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_two_batches_have_two_idempotency_keys() -> None:
    with scripted(Reply(202, BATCH)) as server, Lookalike(server.url) as client:
        for _ in range(2):
            client.batches.create("c", [{"image": "https://example.com/a.jpg"}])
        first, second = (seen.headers["idempotency-key"] for seen in server.seen)
    assert first != second


def test_a_deletion_that_had_worked_before_the_connection_broke_is_no_error() -> None:
    with scripted(Drop(), Reply(404)) as server, Lookalike(server.url) as client:
        client.documents.delete("c", "d")
        assert len(server.seen) == 2


def test_a_deletion_of_nothing_is_an_error() -> None:
    with (
        scripted(Reply(404, {"detail": "no such document"})) as server,
        Lookalike(server.url) as client,
        pytest.raises(NotFound),
    ):
        client.documents.delete("c", "d")


def test_a_deletion_sent_away_before_any_work_still_reports_what_is_not_there() -> None:
    with scripted(Reply(429), Reply(404)) as server, Lookalike(server.url) as client:
        with pytest.raises(NotFound):
            client.documents.delete("c", "d")
        assert len(server.seen) == 2


def test_retry_after_is_waited_for() -> None:
    with scripted(Reply(429, headers={"Retry-After": "1"}), FOUND) as server:
        with Lookalike(server.url) as client:
            client.retrievers.search("r", QUERY)
        assert server.seen[1].at - server.seen[0].at >= 1.0


def test_a_retry_after_beyond_patience_is_raised_at_once() -> None:
    with scripted(Reply(429, headers={"Retry-After": "3600"})) as server:
        with Lookalike(server.url) as client, pytest.raises(RateLimited) as caught:
            client.retrievers.search("r", QUERY)
        assert caught.value.retry_after == 3600
        assert len(server.seen) == 1


def test_retry_after_may_be_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=30)
    waited = retry_after({"retry-after": email.utils.format_datetime(moment, usegmt=True)})
    assert waited is not None
    assert 25 < waited <= 30


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e3", "Mon, 99 Foo"])
def test_an_unreadable_retry_after_counts_as_none(text: str) -> None:
    assert retry_after({"retry-after": text}) is None


@pytest.mark.parametrize(("retry", "longest"), [(0, 0.25), (1, 0.5), (4, 4.0), (5, 8.0), (50, 8.0)])
def test_backoff_grows_to_its_cap(retry: int, longest: float) -> None:
    waits = [RetryPolicy().backoff(retry) for _ in range(500)]
    assert min(waits) >= 0
    assert longest * 0.9 < max(waits) <= longest


def test_what_never_reached_a_server_is_repeated_even_where_repeating_could_do_harm() -> None:
    steps = exchange(batches.retry("b1"), RetryPolicy())
    assert isinstance(next(steps), Send)
    assert isinstance(steps.send(Failure("connection refused", sent=False)), Pause)
    assert isinstance(steps.send(None), Send)


def test_what_may_have_reached_a_server_is_not_repeated_where_repeating_could_do_harm() -> None:
    steps = exchange(batches.retry("b1"), RetryPolicy())
    assert isinstance(next(steps), Send)
    with pytest.raises(ConnectionFailed, match="reset"):
        steps.send(Failure("connection reset", sent=True))


def test_nobody_listening_is_a_failed_connection_that_names_the_address() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with (
        Lookalike(url, retries=1) as client,
        pytest.raises(ConnectionFailed, match=f"cannot connect to {url}.*tried 2 times"),
    ):
        client.collections.get("c")


def test_a_slow_answer_is_given_up_once_and_said_to_have_timed_out() -> None:
    with scripted(Reply(body={}, after_seconds=30)) as server:
        with Lookalike(server.url, timeout=0.5) as client:
            with pytest.raises(ConnectionFailed, match=r"within 0\.5 s") as caught:
                client.retrievers.search("r", QUERY)
            assert caught.value.timed_out
        assert len(server.seen) == 1


def test_health_is_asked_once() -> None:
    with scripted(Reply(body={}), BUSY) as server, Lookalike(server.url) as client:
        health = client.health()
        assert (health.live, health.ready, health.detail) == (True, False, "The model is loading.")
        assert len(server.seen) == 2


@pytest.mark.parametrize("row", FAILURES, ids=str)
def test_only_what_may_succeed_later_is_sent_again(row: FailureKind) -> None:
    statuses = _exchange._REFUSED_BEFORE_WORK | _exchange._MAY_HAVE_WORKED
    assert row.retryable or row.status not in statuses
