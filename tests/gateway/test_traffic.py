"""What scaling goes by: requests under way, the last one, and a replica that is about to end."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from lookalike_serving.gateway.traffic import Traffic

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = json.dumps({"queries": [{"type": "text", "value": "a red square"}]}).encode()
JSON = {"Content-Type": "application/json"}
SEARCH = "/v1/retrievers/shop/search"
WAIT = 0.3


def scope_of(method: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": SEARCH, "headers": list(headers)}


async def metric(client: httpx.AsyncClient, line: str) -> float:
    """The value of the one line of /metrics that begins so."""
    text = (await client.get("/metrics")).text
    (found,) = re.findall(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return float(found)


async def test_probes_and_metrics_are_no_traffic(client: httpx.AsyncClient) -> None:
    before = await metric(client, "lookalike_last_request_timestamp_seconds")
    assert before <= time.time()
    for path in ("/readyz", "/healthz", "/metrics", "/", "/v1/collections"):
        await client.get(path)
    assert await metric(client, "lookalike_last_request_timestamp_seconds") == before
    assert await metric(client, "lookalike_requests_in_flight") == 0


async def test_a_search_is_the_last_request(client: httpx.AsyncClient) -> None:
    before = time.time()
    assert (await client.post(SEARCH, content=BODY, headers=JSON)).status_code == 200
    assert await metric(client, "lookalike_last_request_timestamp_seconds") >= before - 0.001


async def test_a_request_counts_once_its_body_is_there_and_until_it_is_answered() -> None:
    traffic = Traffic()
    messages = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.request", "body": b"}", "more_body": False},
    ]

    async def arriving() -> dict[str, Any]:
        return messages.pop(0)

    visit = traffic.enter(scope_of("POST", (b"transfer-encoding", b"chunked")))
    receive = visit.watch(arriving)
    counts = [(traffic.receiving, traffic.in_flight)]
    for _ in range(2):
        await receive()
        counts.append((traffic.receiving, traffic.in_flight))
    visit.leave()
    counts.append((traffic.receiving, traffic.in_flight))
    assert counts == [(1, 0), (1, 0), (0, 1), (0, 0)]


async def test_requests_are_over_when_those_in_progress_are_whatever_comes_then() -> None:
    traffic = Traffic()
    those = [traffic.enter(scope_of("POST")) for _ in range(2)]
    over = asyncio.create_task(traffic.requests_over())
    await asyncio.sleep(0)
    traffic.enter(scope_of("POST"))
    those[0].leave()
    await asyncio.sleep(WAIT)
    assert not over.done()
    those[1].leave()
    async with asyncio.timeout(10):
        await over


async def test_a_request_without_a_body_counts_at_once() -> None:
    traffic = Traffic()
    visit = traffic.enter(scope_of("GET"))
    assert (traffic.receiving, traffic.in_flight) == (0, 1)
    visit.leave()
    assert (traffic.receiving, traffic.in_flight) == (0, 0)


async def test_a_body_that_never_comes_never_counts_as_work() -> None:
    traffic = Traffic()
    visit = traffic.enter(scope_of("POST", (b"content-length", b"2")))
    assert (traffic.receiving, traffic.in_flight) == (1, 0)
    visit.leave()
    assert (traffic.receiving, traffic.in_flight) == (0, 0)


async def test_what_scaling_reads_leaves_slow_bodies_out(client: httpx.AsyncClient) -> None:
    there, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield BODY[:10]
        there.set()
        await go_on.wait()
        yield BODY[10:]

    search = asyncio.create_task(client.post(SEARCH, content=slowly(), headers=JSON))
    async with asyncio.timeout(30):
        await there.wait()
        assert await metric(client, "lookalike_requests_in_flight") == 0
        assert await metric(client, "lookalike_requests_receiving") == 1
        go_on.set()
        assert (await search).status_code == 200
    assert await metric(client, "lookalike_requests_in_flight") == 0
    assert await metric(client, "lookalike_requests_receiving") == 0


async def test_the_time_that_a_body_takes_is_no_latency(client: httpx.AsyncClient) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield BODY[:10]
        await asyncio.sleep(WAIT)
        yield BODY[10:]

    labels = 'method="POST",route="/v1/retrievers/{retriever}/search",status="200"'
    await client.post(SEARCH, content=BODY, headers=JSON)
    before = await metric(client, f"lookalike_request_seconds_sum{{{labels}}}")
    started = time.perf_counter()
    assert (await client.post(SEARCH, content=slowly(), headers=JSON)).status_code == 200
    took = time.perf_counter() - started
    told = await metric(client, f"lookalike_request_seconds_sum{{{labels}}}") - before
    assert told <= took - WAIT


async def test_the_latency_of_searches_can_be_told_from_the_rest(
    client: httpx.AsyncClient,
) -> None:
    await client.post(SEARCH, content=BODY, headers=JSON)
    labels = 'method="POST",route="/v1/retrievers/{retriever}/search",status="200"'
    assert await metric(client, f"lookalike_request_seconds_count{{{labels}}}") >= 1


async def test_a_draining_replica_is_not_ready_and_still_answers(
    client: httpx.AsyncClient, gateway: Any
) -> None:
    app: FastAPI = gateway.app
    traffic: Traffic = app.state.traffic
    try:
        assert await traffic.drain(notice_seconds=0.0, patience_seconds=10.0) == 0
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["detail"]) == (
            503,
            "This server is shutting down.",
        )
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.post(SEARCH, content=BODY, headers=JSON)).status_code == 200
    finally:
        traffic.draining = False


@pytest.mark.parametrize("headers", [(), ((b"content-length", b"2"),)])
async def test_draining_ends_when_the_last_request_does_or_patience(
    headers: tuple[tuple[bytes, bytes], ...],
) -> None:
    traffic = Traffic()
    visit = traffic.enter(scope_of("POST", *headers))
    assert await traffic.drain(notice_seconds=0.0, patience_seconds=0.1) == 1
    draining = asyncio.create_task(traffic.drain(notice_seconds=0.0, patience_seconds=60.0))
    await asyncio.sleep(0)
    assert not draining.done()
    visit.leave()
    async with asyncio.timeout(30):
        assert await draining == 0
