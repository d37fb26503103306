"""Too many requests, and an index that has gone: refusals that say when to come back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.config import AccessConfig, ServingConfig
from lookalike_serving.gateway import limits

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEARCH = {"queries": [{"type": "text", "value": "red mug"}]}


@pytest.fixture(scope="module")
def config(serving: Any) -> ServingConfig:
    """The usual service, with one request in ten seconds after a first one."""
    limited: ServingConfig = serving(access=AccessConfig(rate_limit_per_second=0.1))
    return limited


async def test_a_caller_over_the_rate_gets_429_and_a_time(client: httpx.AsyncClient) -> None:
    first, second = [await client.get("/v1/collections") for _ in range(2)]
    assert first.status_code == 200
    assert (second.status_code, second.json()["code"]) == (429, "too-many-requests")
    assert 1 <= int(second.headers["retry-after"]) <= 10
    assert (await client.get("/healthz")).status_code == 200


async def test_requests_beyond_what_can_be_answered_at_once_get_429(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_of(gateway)._answered, "most", 4)
    access = AccessConfig()
    config = gateway.service.config.model_copy(update={"access": access})
    monkeypatch.setattr(gateway.service, "config", config)
    answers = await asyncio.gather(
        *[gateway.client.post("/v1/retrievers/shop/search", json=SEARCH) for _ in range(6)]
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 200, 429, 429, 429, 429]


def limits_of(gateway: Any) -> limits.Limits:
    """The layer of the running app."""
    layer = gateway.app.middleware_stack
    while not isinstance(layer, limits.Limits):
        layer = getattr(layer, "_app", None) or layer.app
    return layer


async def test_slow_bodies_keep_nobody_out(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more of them than there are places: a whole request is answered beside them."""
    config = gateway.service.config.model_copy(update={"access": AccessConfig()})
    monkeypatch.setattr(gateway.service, "config", config)
    monkeypatch.setattr(limits_of(gateway)._answered, "most", 4)
    body, go_on = json.dumps(SEARCH).encode(), asyncio.Event()
    headers = {"Content-Type": "application/json"}
    begun = asyncio.Semaphore(0)

    async def slowly() -> AsyncIterator[bytes]:
        yield body[:10]
        begun.release()
        await go_on.wait()
        yield body[10:]

    async def search(content: Any) -> int:
        path = "/v1/retrievers/shop/search"
        return (await gateway.client.post(path, content=content, headers=headers)).status_code

    slow = [asyncio.create_task(search(slowly())) for _ in range(40)]
    async with asyncio.timeout(60):
        for _ in slow:
            await begun.acquire()
        assert await search(body) == 200
        go_on.set()
        assert set(await asyncio.gather(*slow)) <= {200, 429}
    assert not limits_of(gateway)._answered._held
    assert not limits_of(gateway)._unread._held


async def test_a_body_that_does_not_come_is_given_up(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = gateway.service.config.model_copy(update={"access": AccessConfig()})
    monkeypatch.setattr(gateway.service, "config", config)
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    for path in ("/v1/retrievers/shop/search", "/v1/collections/catalogue/batches"):
        answer = await gateway.client.post(
            path, content=never(), headers={"Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (408, "body-too-slow")
        assert answer.headers["connection"] == "close"


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=300), st.integers(1, 64))
async def test_whoever_holds_nothing_gets_a_place_while_there_is_one(
    moves: list[tuple[int, bool]], most: int
) -> None:
    shares, held = limits.Shares(most), Counter[str]()
    for number, takes in moves:
        caller, free = str(number), most - held.total()
        if takes and shares.take(caller):
            assert held[caller] < free
            held[caller] += 1
        elif takes:
            assert held[caller] or not free
        elif held[caller]:
            held[caller] -= 1
            shares.give(caller)
    for caller, count in held.items():
        for _ in range(count):
            shares.give(caller)
    assert not shares._held


async def test_an_index_that_has_gone_is_503_with_the_reason(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test of the module: it closes an index."""
    config = gateway.service.config.model_copy(update={"access": AccessConfig()})
    monkeypatch.setattr(gateway.service, "config", config)
    await gateway.service.collections["dot"].index.close()
    answer = await gateway.client.post("/v1/retrievers/dot/search", json=SEARCH)
    assert (answer.status_code, answer.json()["code"]) == (503, "index-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    ready = await gateway.client.get("/readyz")
    assert [part["path"] for part in ready.json()["errors"]] == ["collections.dot"]
    other = await gateway.client.post("/v1/retrievers/shop/search", json=SEARCH)
    assert other.status_code == 200
