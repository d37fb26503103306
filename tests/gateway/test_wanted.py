"""Answers that nobody waits for are given up wherever they are, and changes are finished."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index import Point

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEARCH = "/v1/retrievers/shop/search"


class Caller:
    """Sends a request over ASGI, and leaves when it is told to."""

    def __init__(self, app: Any, path: str, body: Any, **headers: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self.leave = asyncio.Event()
        self._body = json.dumps(body).encode()
        self._messages = self._coming()
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 40000),
            "headers": [
                (b"host", b"127.0.0.1:8000"),
                (b"content-type", b"application/json"),
                (b"content-length", str(len(self._body)).encode()),
                *((name.encode(), value.encode()) for name, value in headers.items()),
            ],
        }
        self.answer = asyncio.create_task(app(scope, self._receive, self._send))

    async def _coming(self) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "http.request", "body": self._body, "more_body": False}
        await self.leave.wait()
        while True:
            yield {"type": "http.disconnect"}

    async def _receive(self) -> dict[str, Any]:
        return await anext(self._messages)

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def json(self) -> Any:
        return json.loads(b"".join(part.get("body", b"") for part in self.sent[1:]))


@pytest.fixture
def embedder(gateway: Any) -> Any:
    return gateway.service.collections["catalogue"].embedder


@dataclass
class Busy:
    """A model that computes its first batch until it may go on."""

    go_on: threading.Event
    batches: list[int]
    """Their sizes."""


@pytest.fixture
def busy(embedder: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    held, call = Busy(threading.Event(), []), embedder._call

    def slowly(batch: list[Any]) -> Any:
        held.batches.append(len(batch))
        held.go_on.wait(30)
        return call(batch)

    monkeypatch.setattr(embedder, "_call", slowly)
    yield held
    held.go_on.set()


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  -- it changes in other threads
            await asyncio.sleep(0.005)


def image_query(data: bytes) -> dict[str, Any]:
    return {"queries": [{"type": "image", "value": base64.b64encode(data).decode()}]}


async def test_the_pictures_of_callers_who_left_are_not_embedded(
    gateway: Any, embedder: Any, picture: Any, busy: Busy
) -> None:
    pictures = [picture("red", side=40 + n) for n in range(12)]
    first = Caller(gateway.app, SEARCH, image_query(picture("blue")))
    await until(lambda: busy.batches)
    callers = [Caller(gateway.app, SEARCH, image_query(each)) for each in pictures]
    await until(lambda: embedder.stats.images.waiting == len(callers))
    for caller in callers[:10]:
        caller.leave.set()
    await asyncio.gather(*(each.answer for each in callers[:10]))
    busy.go_on.set()
    await asyncio.gather(first.answer, *(each.answer for each in callers[10:]))
    assert busy.batches == [1, 2]
    assert [each.status for each in callers] == [499] * 10 + [200] * 2
    assert embedder.stats.under_way == 0


def text_query(text: str) -> dict[str, Any]:
    return {"queries": [{"type": "text", "value": text}]}


REQUESTS = {
    SEARCH: text_query("a red mug that nobody has asked for"),
    f"{SEARCH}/batch": {"searches": [text_query("a blue mug that nobody has asked for")]},
    "/v1/collections/catalogue/duplicates": {},
}


@pytest.fixture
def body(picture: Any) -> Any:
    data = base64.b64encode(picture("green", side=77)).decode()
    return {path: given or {"image": data} for path, given in REQUESTS.items()}


@pytest.mark.parametrize("path", REQUESTS)
async def test_a_time_that_is_over_is_504_and_the_work_is_dropped(
    path: str, body: Any, gateway: Any, embedder: Any, busy: Busy
) -> None:
    first = Caller(gateway.app, SEARCH, text_query(f"a mug that is asked for before {path}"))
    await until(lambda: busy.batches)
    late = Caller(gateway.app, path, body[path], **{"x-request-timeout": "0.2"})
    async with asyncio.timeout(10):
        await late.answer
    busy.go_on.set()
    await first.answer
    assert (late.status, late.json["code"]) == (504, "deadline-exceeded")
    assert "0.2 s that X-Request-Timeout allows" in late.json["detail"]
    await until(lambda: embedder.stats.under_way == 0)
    assert busy.batches == [1]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", "3601", ""])
async def test_a_time_that_is_none_is_refused(value: str, client: httpx.AsyncClient) -> None:
    answer = await client.post(SEARCH, json=REQUESTS[SEARCH], headers={"X-Request-Timeout": value})
    assert answer.status_code == 422
    assert "x-request-timeout" in answer.json()["detail"].lower()


async def test_a_time_that_suffices_changes_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post(SEARCH, json=REQUESTS[SEARCH], headers={"X-Request-Timeout": "20"})
    assert answer.status_code == 200


async def test_every_route_that_takes_a_time_says_so(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()["paths"]
    timed = {
        path
        for path, methods in described.items()
        if "504" in methods.get("post", {}).get("responses", {})
    }
    headers = {
        path
        for path, methods in described.items()
        for each in methods.get("post", {}).get("parameters", [])
        if each["name"] == "X-Request-Timeout"
    }
    assert (
        timed
        == headers
        >= {path.replace("shop", "{retriever}") for path in REQUESTS if "shop" in path}
    )


async def test_an_upload_that_has_begun_is_finished_though_it_is_cancelled(
    gateway: Any, client: httpx.AsyncClient, embedder: Any, picture: Any, busy: Busy
) -> None:
    """Ray Serve cancels a request whose caller has left."""
    image = base64.b64encode(picture("purple", side=91)).decode()
    path = "/v1/collections/catalogue/documents"
    caller = Caller(gateway.app, path, {"document_id": "left", "image": image})
    await until(lambda: busy.batches)
    caller.answer.cancel()
    await asyncio.sleep(0.05)
    assert not caller.answer.done()
    busy.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller.answer
    assert caller.status == 201
    assert (await client.get(f"{path}/left")).status_code == 200
    assert gateway.app.state.traffic.in_flight == 0


async def test_callers_who_leave_take_no_answer_of_others(gateway: Any) -> None:
    """Searches that share calls of the index: each that stays has its own answer."""
    rng, chance = np.random.default_rng(5), random.Random(5)
    archive = gateway.service.collections["archive"]
    vectors = rng.standard_normal((20, archive.embedder.info.dimension)).astype(np.float32)
    await archive.index.upsert(
        [
            Point(
                point_id("archive", f"leave-{n}"),
                vector,
                payload({}, Origin(f"leave-{n}", f"https://example.com/{n}.jpg")),
            )
            for n, vector in enumerate(vectors)
        ]
    )
    asked = [chance.randrange(len(vectors)) for _ in range(120)]
    callers = [
        Caller(
            gateway.app,
            "/v1/retrievers/both/search",
            {"queries": [{"type": "vector", "value": vectors[n].tolist()}], "top_k": 1},
        )
        for n in asked
    ]
    leaving = chance.sample(callers, 60)
    for caller in leaving:
        await asyncio.sleep(chance.choice([0, 0, 0.001, 0.004]))
        caller.leave.set()
    await asyncio.gather(*(each.answer for each in callers))
    for n, caller in zip(asked, callers, strict=True):
        if caller in leaving and caller.status == 499:
            continue
        assert caller.status == 200
        assert caller.json["results"][0]["document_id"] == f"leave-{n}"
    assert any(each.status == 499 for each in leaving)
