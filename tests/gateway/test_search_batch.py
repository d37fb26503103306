"""Several searches in one request."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")
_PATH = "/v1/retrievers/shop/search"


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _stored(client: httpx.AsyncClient, picture: Callable[..., bytes]) -> None:
    for colour in ("red", "green", "blue"):
        files = {"image": picture(colour)}
        address = "/v1/collections/catalogue/documents"
        answer = await client.post(address, data={"document_id": colour}, files=files)
        assert answer.status_code == 201, answer.text


def of_document(name: str, **more: Any) -> dict[str, Any]:
    return {"queries": [{"type": "document", "value": name}], **more}


async def alone(client: httpx.AsyncClient, search: dict[str, Any]) -> list[Any]:
    return (await client.post(_PATH, json=search)).json()["results"]


async def test_each_search_is_answered_as_it_would_be_alone(client: httpx.AsyncClient) -> None:
    searches = [of_document("red", top_k=1), of_document("green"), of_document("blue", top_k=2)]
    searches += [of_document("red")] * 40
    answer = await client.post(f"{_PATH}/batch", json={"searches": searches})
    assert answer.status_code == 200, answer.text
    answers = answer.json()["answers"]
    assert len(answers) == 43
    for search, told in zip(searches[:4], answers, strict=False):
        assert told["results"] == await alone(client, search)
    assert answers[42]["results"] == answers[3]["results"]


async def test_a_search_that_fails_has_its_problem_in_its_place(client: httpx.AsyncClient) -> None:
    searches = [of_document("red"), of_document("gone"), of_document("blue")]
    answers = (await client.post(f"{_PATH}/batch", json={"searches": searches})).json()["answers"]
    assert [sorted(each) == ["problem"] for each in answers] == [False, True, False]
    problem = answers[1]["problem"]
    assert (problem["status"], problem["errors"][0]["path"]) == (422, "queries[0].value")
    assert "there is no document 'gone'" in problem["detail"]


async def test_a_body_that_is_wrong_is_refused_with_the_place(client: httpx.AsyncClient) -> None:
    searches = [of_document("red"), of_document("red", topk=3)]
    answer = await client.post(f"{_PATH}/batch", json={"searches": searches})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "searches[1].topk"
    many = await client.post(f"{_PATH}/batch", json={"searches": [of_document("red")] * 257})
    assert many.status_code == 422


async def test_a_vector_may_be_base64(client: httpx.AsyncClient) -> None:
    [first, *_] = await alone(client, of_document("red", include=["vector", "query_document"]))
    text = base64.b64encode(np.asarray(first["vector"], "<f4").tobytes()).decode()
    [found, *_] = await alone(client, {"queries": [{"type": "vector", "value": text}]})
    assert (found["document_id"], round(found["score"], 4)) == ("red", 1.0)
    for wrong in ("abc", text[:-8], "not base64!"):
        answer = await client.post(_PATH, json={"queries": [{"type": "vector", "value": wrong}]})
        assert answer.status_code == 422, wrong
        assert answer.json()["errors"][0]["path"] == "queries[0].value"
