"""Too many requests, and an index that has gone: refusals that say when to come back."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

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
    monkeypatch.setattr(limits, "MAX_IN_FLIGHT", 2)
    access = AccessConfig()
    config = gateway.service.config.model_copy(update={"access": access})
    monkeypatch.setattr(gateway.service, "config", config)
    answers = await asyncio.gather(
        *[gateway.client.post("/v1/retrievers/shop/search", json=SEARCH) for _ in range(6)]
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 200, 429, 429, 429, 429]


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
