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


async def test_a_request_counts_while_it_is_answered_and_not_after(
    client: httpx.AsyncClient,
) -> None:
    there, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield BODY[:10]
        there.set()
        await go_on.wait()
        yield BODY[10:]

    search = asyncio.create_task(client.post(SEARCH, content=slowly(), headers=JSON))
    async with asyncio.timeout(30):
        await there.wait()
        assert await metric(client, "lookalike_requests_in_flight") == 1
        go_on.set()
        assert (await search).status_code == 200
    assert await metric(client, "lookalike_requests_in_flight") == 0


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
            "This server is about to end.",
        )
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.post(SEARCH, content=BODY, headers=JSON)).status_code == 200
    finally:
        traffic.draining = False


async def test_draining_ends_when_the_last_request_does_or_patience() -> None:
    traffic = Traffic()
    scope = {"type": "http", "method": "POST", "path": SEARCH}
    traffic.enter(scope)
    assert await traffic.drain(notice_seconds=0.0, patience_seconds=0.1) == 1
    draining = asyncio.create_task(traffic.drain(notice_seconds=0.0, patience_seconds=60.0))
    await asyncio.sleep(0)
    assert not draining.done()
    traffic.leave(SEARCH, scope)
    async with asyncio.timeout(30):
        assert await draining == 0
