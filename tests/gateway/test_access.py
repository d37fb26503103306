"""Keys, limits, request ids: what stands before every route."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lookalike_crds.config import AccessConfig, HttpConfig, ServingConfig
from lookalike_serving.gateway.auth import ApiKeys
from lookalike_serving.gateway.limits import TokenBuckets
from lookalike_serving.service import refuse_open_doors

on_module_loop = pytest.mark.asyncio(loop_scope="module")
KEY = {"Authorization": "Bearer first-key"}
JSON_WITH_KEY = {**KEY, "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def keys_file(folder: Path) -> Path:
    path = folder / "keys"
    path.write_text("# ours\n\nfirst-key\nsecond-key\n")
    return path


@pytest.fixture(scope="module")
def config(serving: Any, keys_file: Path) -> ServingConfig:
    """The usual service, with keys, and on all addresses."""
    token = keys_file.with_name("token")
    token.write_text("internal\n")
    access = AccessConfig(api_keys_file=keys_file, internal_token_file=token)
    changed: ServingConfig = serving(access=access, http=HttpConfig(host="0.0.0.0"))
    return changed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(gateway: Any) -> AsyncIterator[httpx.AsyncClient]:
    yield gateway.client


@on_module_loop
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic first-key"},
        {"Authorization": "first-key"},
        {"Authorization": "Bearer # ours"},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/v1/collections", "/v1/nothing", "/v1", "/v1/retrievers/shop/search"]
)
async def test_without_a_valid_key_nothing_below_v1_answers(
    client: httpx.AsyncClient, headers: Any, path: str
) -> None:
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


@on_module_loop
@pytest.mark.parametrize("key", ["first-key", "second-key"])
async def test_each_key_of_the_file_opens(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.get("/v1/collections", headers={"Authorization": f"bearer {key}"})
    assert answer.status_code == 200


@on_module_loop
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/"])
async def test_what_shows_no_document_is_open(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


@on_module_loop
async def test_the_bulk_route_takes_its_own_token_only(client: httpx.AsyncClient) -> None:
    route = "/internal/v1/collections/catalogue/points/info"
    assert (await client.post(route, content=b"\x80")).status_code == 401
    assert (await client.post(route, content=b"\x80", headers=KEY)).status_code == 401
    token = {"Authorization": "Bearer internal"}
    assert (await client.post(route, content=b"\x80", headers=token)).status_code == 200


def test_a_changed_key_file_takes_effect_at_once(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("old")
    keys = ApiKeys(path)
    assert keys.accepts(b"old")
    new = tmp_path / "new"
    new.write_text("newer")
    os.replace(new, path)
    assert (keys.accepts(b"old"), keys.accepts(b"newer")) == (False, True)


def test_a_key_file_that_vanishes_leaves_the_last_keys_in_force(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("old")
    keys = ApiKeys(path)
    assert keys.accepts(b"old")
    path.unlink()
    assert (keys.accepts(b"old"), keys.accepts(b"")) == (True, False)


def test_an_empty_key_file_refuses_everyone(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# none yet\n\n")
    assert not ApiKeys(path).accepts(b"")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_without_keys_the_service_starts_on_loopback(serving: Any, host: str) -> None:
    refuse_open_doors(serving(http=HttpConfig(host=host)))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_without_keys_the_service_starts_nowhere_else(serving: Any, host: str) -> None:
    with pytest.raises(ValueError, match="api_keys_file"):
        refuse_open_doors(serving(http=HttpConfig(host=host)))


@on_module_loop
async def test_a_request_id_is_taken_over_and_logged(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lookalike.requests"):
        answer = await client.get("/v1/collections/x", headers={**KEY, "X-Request-ID": "abc-1"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "abc-1"
    line = json.loads(caplog.records[-1].getMessage())
    assert (line["request_id"], line["status"]) == ("abc-1", 404)
    assert line["route"] == "/v1/collections/{collection}"


@on_module_loop
@pytest.mark.parametrize("given", ["", "x" * 200, 'quo"te', "new\tline"])
async def test_a_request_id_that_could_spoil_a_log_is_replaced(
    client: httpx.AsyncClient, given: str
) -> None:
    answer = await client.get("/healthz", headers={"X-Request-ID": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@on_module_loop
async def test_a_body_over_the_limit_is_refused_by_its_announced_length(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post(
        "/v1/retrievers/shop/search", content=b"{" * (2 * 1024 * 1024 + 1), headers=KEY
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


@on_module_loop
async def test_a_body_over_the_limit_is_refused_while_it_arrives(
    client: httpx.AsyncClient,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    for route in ("/v1/retrievers/shop/search", "/v1/collections/catalogue/documents"):
        answer = await client.post(route, content=endless(), headers=JSON_WITH_KEY)
        assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_a_bucket_lets_its_rate_through_and_tells_when_to_come_back() -> None:
    buckets = TokenBuckets(2.0)
    assert [buckets.wait("a", 0.0) for _ in range(4)] == [0.0] * 4
    assert buckets.wait("a", 0.0) == pytest.approx(0.5)
    assert buckets.wait("b", 0.0) == 0.0
    assert buckets.wait("a", 0.5) == 0.0
    assert buckets.wait("a", 0.5) > 0


def test_a_byte_order_mark_before_the_first_key_is_not_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"\xef\xbb\xbffirst\nsecond\n")
    keys = ApiKeys(path)
    assert (keys.accepts(b"first"), keys.accepts(b"second")) == (True, True)


# -- change events ---------------------------------------------------------------------------------

EVENTS = "/v1/collections/catalogue/events"
NOTHING = {"Event": "s3:TestEvent"}


async def token_path(client: httpx.AsyncClient) -> str:
    answer = await client.get(EVENTS, headers=KEY)
    path: str = answer.json()["path"]
    return path


@on_module_loop
async def test_a_token_opens_the_events_of_its_collection_and_nothing_else(
    client: httpx.AsyncClient,
) -> None:
    path = await token_path(client)
    token = path.partition("?token=")[2]
    accepted = [
        await client.post(path, json=NOTHING),
        await client.post(EVENTS, json=NOTHING, headers=KEY),
        await client.post(EVENTS, json=NOTHING, headers={"Authorization": f"Bearer {token}"}),
        await client.post(EVENTS, json=NOTHING, auth=("sns", token)),
        await client.post(  # as SNS sends it
            path,
            content=json.dumps(NOTHING),
            headers={"Content-Type": "text/plain", "x-amz-sns-message-type": "Notification"},
        ),
    ]
    assert [each.status_code for each in accepted] == [202] * 5
    other = path.replace("catalogue", "archive")
    refused = [
        await client.post(EVENTS, json=NOTHING),
        await client.post(other, json=NOTHING),
        await client.post(f"{EVENTS}?token=first-key", json=NOTHING),  # no key belongs there
        await client.post(f"{EVENTS}?token=", json=NOTHING),
        await client.post(EVENTS, json=NOTHING, auth=("sns", "first-key")),
        await client.get(path),
        await client.get(f"/v1/collections?token={token}"),
        await client.get("/v1/collections", headers={"Authorization": f"Bearer {token}"}),
        await client.delete(f"/v1/collections/catalogue/documents/a?token={token}"),
        await client.get(f"/v1/collections/catalogue/documents/events?token={token}"),
    ]
    assert [each.status_code for each in refused] == [401] * len(refused)


@on_module_loop
async def test_event_grid_is_answered_as_it_asks(client: httpx.AsyncClient) -> None:
    path = await token_path(client)
    event = {
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "512d38b6"},
    }
    answer = await client.post(path, json=[event])
    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    asked = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    answer = await client.options(path, headers=asked)
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert (await client.options(EVENTS, headers=asked)).status_code == 401


@on_module_loop
@pytest.mark.parametrize(
    ("content", "headers", "status", "told"),
    [
        (b"{}", {}, 422, "send an S3 or MinIO notification"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "application/json"),
        (b"[" + b" " * 9_000_000 + b"]", {}, 413, "at most 8,388,608"),
        (b'{"Records": [' + b"{}," * 10_000 + b"{}]}", {}, 422, "at most 10,000"),
    ],
)
async def test_events_that_cannot_be_read_are_refused(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int, told: str
) -> None:
    given = {**JSON_WITH_KEY, **headers}
    client_limit = await client.post(EVENTS, content=content, headers=given)
    assert client_limit.status_code == status
    if status != 413:  # a smaller limit of the service may come first
        assert told in client_limit.json()["detail"]
