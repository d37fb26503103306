"""A service without keys answers programs and its own pages, and no page of anybody else."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.config import HttpConfig
from lookalike_serving.gateway.origins import foreign_page, wrong_host

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOPBACK = HttpConfig()
DOCUMENTS = "/v1/collections/catalogue/documents"
SEARCH = {"queries": [{"type": "text", "value": "a red square"}]}


def scope(method: str = "GET", path: str = "/v1/collections", **headers: str) -> dict[str, Any]:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": sent}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LocalHost:9999",
        "localhost.",
        "shop.localhost:8000",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.8.9.10:80",
        "[::1]",
        "[::1]:8000",
    ],
)
async def test_names_of_this_machine_are_served(host: str) -> None:
    assert wrong_host(scope(host=host), LOOPBACK) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example@localhost",
        "localhost@evil.example",
        "localhost/evil.example",
        "localhost:x",
        "192.168.1.5:8000",
        "0.0.0.0:8000",
        "[::]:8000",
        "[::ffff:8.8.8.8]",
        "[::1",
        "notlocalhost",
        "gateway",
    ],
)
async def test_other_names_are_refused_whatever_they_resolve_to(host: str) -> None:
    refusal = wrong_host(scope(host=host), LOOPBACK)
    assert refusal is not None
    assert refusal.status == 421


async def test_two_hosts_are_refused() -> None:
    headers = [(b"host", b"localhost"), (b"host", b"evil.example")]
    assert wrong_host({**scope(), "headers": headers}, LOOPBACK) is not None


async def test_the_public_address_and_the_address_listened_on_are_served() -> None:
    http = HttpConfig(host="127.0.0.2", public_url="https://Shop.example")
    assert wrong_host(scope(host="shop.example"), http) is None
    assert wrong_host(scope(host="127.0.0.2:8000"), http) is None
    assert wrong_host(scope(host="other.example"), http) is not None


@given(st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z0-9-]{1,20}){1,3}", fullmatch=True))
async def test_no_registered_name_is_ever_served(name: str) -> None:
    if name.endswith(".localhost") or name.startswith("127."):
        return
    assert wrong_host(scope(host=name), LOOPBACK) is not None


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/collections", "/internal/x", "/metrics"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "http://localhost:8000.evil.example"},
        {"origin": "http://evil.example", "sec_fetch_site": "same-origin"},
        {"origin": "http://localhost:8000", "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
    ],
)
async def test_data_is_not_for_other_pages(method: str, path: str, headers: dict[str, str]) -> None:
    refusal = foreign_page(scope(method, path, host="localhost:8000", **headers), LOOPBACK)
    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec_fetch_site": "same-origin", "origin": "http://localhost:8000"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://localhost:8000"},
        {"origin": "HTTP://LOCALHOST:8000"},
    ],
)
async def test_programs_and_our_own_page_get_data(headers: dict[str, str]) -> None:
    assert foreign_page(scope("POST", host="localhost:8000", **headers), LOOPBACK) is None


async def test_our_page_behind_a_proxy_that_changes_the_host_gets_data() -> None:
    http = HttpConfig(public_url="https://shop.example")
    asked = scope("POST", host="127.0.0.1:8000", origin="https://shop.example")
    assert foreign_page(asked, http) is None
    asked = scope("POST", host="127.0.0.1:8000", origin="http://shop.example")
    assert foreign_page(asked, http) is not None


async def test_a_link_to_an_image_may_be_followed_but_not_a_form_sent() -> None:
    tab = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    tab |= {"sec_fetch_dest": "document"}
    assert foreign_page(scope("GET", DOCUMENTS, **tab), LOOPBACK) is None
    assert foreign_page(scope("POST", DOCUMENTS, **tab), LOOPBACK) is not None


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/v1/collections", "/metrics"])
async def test_a_name_that_was_pointed_at_this_machine_reads_nothing(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path, headers={"Host": "rebound.example:8000"})
    assert (answer.status_code, answer.json()["code"]) == (421, "wrong-host")


async def test_a_form_of_another_page_uploads_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        DOCUMENTS,
        files={"image": ("x.png", b"x")},
        headers={"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign-page")


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "text/x+json", "application/x-www-form-urlencoded"]
)
@pytest.mark.parametrize(
    "path", [DOCUMENTS, "/v1/retrievers/shop/search", "/v1/collections/catalogue/batches"]
)
async def test_json_says_that_it_is_json(
    client: httpx.AsyncClient, path: str, kind: str | None
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await client.post(path, content=json.dumps(SEARCH).encode(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/collections", "/v1/nothing", "/openapi.json"])
async def test_every_answer_tells_browsers_what_it_may_do(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = (await client.get(path)).headers
    assert headers.get_list("x-content-type-options") == ["nosniff"]
    (policy,) = headers.get_list("content-security-policy")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
