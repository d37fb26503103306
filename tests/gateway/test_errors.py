"""Whatever is sent, the answer is a problem that helps, never a 500."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.asyncio(loop_scope="module")

Picture = Callable[..., bytes]
SEARCH = "/v1/retrievers/shop/search"
DOCUMENTS = "/v1/collections/catalogue/documents"
JSON = {"Content-Type": "application/json"}


def helps(answer: httpx.Response) -> bool:
    """Whether a refusal is a whole problem document."""
    problem = answer.json()
    return (
        answer.headers["content-type"] == "application/problem+json"
        and problem["status"] == answer.status_code
        and problem["request_id"] == answer.headers["x-request-id"]
        and len(problem["detail"]) > 10
        and "Traceback" not in answer.text
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe\x00",
        b'{"queries": [{"type": "text", "value": "\xff"}]}',
        b'{"queries": [{"type": "text", "value": "\\ud800"}]}',
        b'{"queries": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"queries": [{"type": "text", "value": "a"}], "filters": '
        + b'{"NOT": [' * 10_000
        + b"]}" * 10_000
        + b"}",
        b'{"queries": [{"type": "vector", "value": [NaN]}]}',
        b'{"queries": [{"type": "vector", "value": [' + b"Infinity," * 127 + b"1]}]}",
        b'{"queries": [{"type": "vector", "value": [1e999' + b",1" * 127 + b"]}]}",
        b'{"queries": [{"type": "text", "value": "a", "weight": NaN}]}',
        b'{"queries": [{"type": "text", "value": "a"}], "min_score": Infinity}',
        b'{"queries": [{"type": "text", "value": "a"}], "top_k": 1e400}',
        b'{"queries": [{"type": "text", "value": "a"}], "top_k": ' + b"9" * 5000 + b"}",
        b'{"queries": [{"type": "image", "value": "file:///etc/passwd"}]}',
        b'{"queries": [{"type": "image", "value": "http://127.0.0.1:1/"}]}',
        b'{"queries": [{"type": "image", "value": "http://169.254.169.254/latest"}]}',
        b'{"queries": [{"type": "image", "value": "not base64 at all"}]}',
        b'{"queries": [{"type": "document", "value": "a\\u0000b"}]}',
    ],
)
async def test_a_rubbish_search_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(SEARCH, content=body, headers=JSON)
    assert 400 <= answer.status_code < 500
    assert helps(answer)


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"a=b", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"x", 400),
        ("multipart/form-data; boundary=b", b"--b\r\n", 422),
        ("multipart/form-data; boundary=" + "b" * 5000, b"--b\r\n", 400),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 422),
    ],
)
async def test_a_body_of_another_type_is_refused(
    client: httpx.AsyncClient, kind: str, body: bytes, status: int
) -> None:
    for route in (SEARCH, DOCUMENTS):
        answer = await client.post(route, content=body, headers={"Content-Type": kind})
        assert answer.status_code == status, answer.text
        assert helps(answer)


async def test_too_many_parts_are_refused(client: httpx.AsyncClient) -> None:
    files = [("image", (str(i), b"x")) for i in range(100)]
    answer = await client.post(SEARCH, files=files)
    assert answer.status_code == 400
    assert helps(answer)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/collections/catalogue/", 404),
        ("GET", SEARCH, 405),
        ("PUT", DOCUMENTS, 405),
        ("DELETE", "/v1/collections", 405),
        ("GET", DOCUMENTS + "/%ff%fe", 422),
        ("GET", DOCUMENTS + "/a%00b", 422),
        ("GET", "/v1/collections/none/documents", 404),
        ("GET", DOCUMENTS + "/" + "x" * 5000, 422),
    ],
)
async def test_a_wrong_address_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert helps(answer)


async def test_405_says_what_is_allowed(client: httpx.AsyncClient) -> None:
    answer = await client.get(SEARCH)
    assert answer.headers["allow"] == "POST"
    assert "allowed: POST" in answer.json()["detail"]


async def test_a_bug_is_a_500_with_an_id_and_no_traceback(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(gateway.service), "retrievers", None)
    answer = await gateway.client.get("/v1/retrievers")
    assert answer.status_code == 500
    assert helps(answer)
    assert "AttributeError" not in answer.text


async def test_deleting_while_searching_breaks_nothing(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    async def write(number: int) -> list[int]:
        files = {"image": ("x", picture(f"rgb({number * 5},0,0)"))}
        data = {"document_id": f"passing-{number}"}
        up = await client.post(DOCUMENTS, data=data, files=files)
        down = await client.delete(f"{DOCUMENTS}/passing-{number}")
        return [up.status_code, down.status_code]

    async def read(number: int) -> int:
        queries = [{"type": "text", "value": f"words {number}"}]
        answer = await client.post(SEARCH, json={"queries": queries, "top_k": 50})
        return answer.status_code

    writes, reads = await asyncio.gather(
        asyncio.gather(*[write(i) for i in range(12)]),
        asyncio.gather(*[read(i) for i in range(12)]),
    )
    assert set(map(tuple, writes)) == {(201, 204)}
    assert set(reads) == {200}


_scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
_json = st.recursive(
    _scalar,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "queries type value weight filters top_k min_score rerank group_by include "
                "explain collection embedding_model trade_off field image document_id metadata "
                "AND OR NOT key operator status price".split()
            )
            | st.text(string.printable, max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)
_query = st.fixed_dictionaries(
    {"type": st.sampled_from(["image", "text", "vector", "document"])},
    optional={
        "value": st.text(max_size=20) | st.lists(st.floats(), max_size=3) | _json,
        "weight": st.floats() | _scalar,
        "collection": _scalar,
        "embedding_model": _scalar,
    },
)
_search = st.fixed_dictionaries(
    {"queries": st.lists(_query, max_size=3) | _json},
    optional={
        "filters": _json,
        "top_k": st.integers(-5, 2000) | _scalar,
        "min_score": st.floats() | _scalar,
        "rerank": st.lists(_json, max_size=2),
        "group_by": _scalar,
        "include": st.lists(
            st.sampled_from(["metadata", "vector", "distance"]) | _scalar, max_size=3
        ),
        "explain": _scalar,
    },
)
_bodies = (_search | _json).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)
_fuzz = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(body=_bodies)
@_fuzz
async def test_no_search_body_makes_a_500(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(SEARCH, content=body, headers=JSON)
    assert answer.status_code < 500, answer.text
    assert answer.status_code < 400 or helps(answer)


@given(body=_bodies, method=st.sampled_from(["POST", "PATCH"]))
@_fuzz
async def test_no_document_body_makes_a_500(
    client: httpx.AsyncClient, method: str, body: bytes
) -> None:
    path = DOCUMENTS if method == "POST" else f"{DOCUMENTS}/x"
    answer = await client.request(method, path, content=body, headers=JSON)
    assert answer.status_code < 500, answer.text
    assert answer.status_code < 400 or helps(answer)


@given(path=st.text(string.printable + "é鞋", max_size=30))
@_fuzz
async def test_no_address_makes_a_500(client: httpx.AsyncClient, path: str) -> None:
    for before in ("/", "/v1/", f"{DOCUMENTS}/", "/v1/batches/"):
        answer = await client.get(before + quote(path, safe="/%?#"))
        assert answer.status_code < 500, answer.text
