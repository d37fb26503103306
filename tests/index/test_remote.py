"""The bulk route and its client, together: an Edge index reached over (in-process) HTTP."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import msgpack
import numpy as np
import pytest
from fastapi import FastAPI, Response

from lookalike_crds.image_collection import VectorSpec
from lookalike_serving.index import bulk, remote, wire
from lookalike_serving.index.bulk import bulk_router
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.tree import And, HasId, Not, Or
from lookalike_serving.index.protocol import (
    IndexFailure,
    IndexMismatch,
    IndexRefused,
    IndexUnavailable,
    Point,
    Query,
)
from lookalike_serving.index.remote import RemoteIndex

TOKEN = "a-token-made-for-this-test"


def uid(number: int) -> str:
    return str(uuid.UUID(int=number))


def point(number: int, **payload) -> Point:
    return Point(uid(number), np.full(4, number + 1, dtype=np.float32), payload)


@pytest.fixture
async def index(folder):
    opened = await EdgeIndex.open(
        folder / "index", vector=VectorSpec(distance="Dot"), dimension=4, fingerprint="a"
    )
    yield opened
    await opened.close()


@pytest.fixture
def app(index):
    """Serves `shoes`; a test may put other things into `app.state.indexes`."""
    app = FastAPI()
    app.state.indexes = {"shoes": index}
    app.state.token = TOKEN
    app.include_router(bulk_router(app.state.indexes.get, lambda: app.state.token))
    return app


class Flaky(httpx.AsyncBaseTransport):
    """Passes requests to the app after as many failures as `failures` still holds."""

    def __init__(self, app: FastAPI, failures: list[Exception | int]) -> None:
        self._app = httpx.ASGITransport(app)
        self.failures = failures
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(failure, text="from a proxy")
        return await self._app.handle_async_request(request)


def client(app: FastAPI, *, failures=(), collection="shoes", token=TOKEN, retry_seconds=5.0):
    transport = Flaky(app, list(failures))
    made = RemoteIndex(
        "http://server/", collection, token, retry_seconds=retry_seconds, transport=transport
    )
    made.transport = transport
    return made


# What it does


async def test_what_is_written_remotely_is_in_the_index(app, index):
    shoes = client(app)
    await shoes.upsert([point(n, n=n, name="Schuh 👟") for n in range(10)])
    await shoes.merge_payload(uid(1), {"extra": [1, None, 2.5]})
    await shoes.replace_payload(uid(2), {"only": True})
    await shoes.delete([uid(3)])
    assert await index.count() == 9
    records = await index.retrieve([uid(0), uid(1), uid(2)], with_vector=True)
    assert [r.payload for r in records] == [
        {"n": 0, "name": "Schuh 👟"},
        {"n": 1, "name": "Schuh 👟", "extra": [1, None, 2.5]},
        {"only": True},
    ]
    np.testing.assert_array_equal(records[1].vector, np.full(4, 2, np.float32))


async def test_what_is_in_the_index_is_read_remotely(app, index):
    shoes = client(app)
    await index.upsert([point(n, n=n) for n in range(10)])
    assert await shoes.count() == 10
    assert await shoes.count(condition("n", "lt", 3)) == 3
    (record,) = await shoes.retrieve([uid(4), uid(99)], with_vector=True)
    assert (record.id, record.payload) == (uid(4), {"n": 4})
    np.testing.assert_array_equal(record.vector, np.full(4, 5, np.float32))
    assert await shoes.info() == await index.info()
    first = await shoes.scroll(limit=6, with_payload=("n",))
    second = await shoes.scroll(limit=6, after=first.next, with_payload=False)
    assert [r.id for r in first.records + second.records] == [uid(n) for n in range(10)]
    assert (first.records[0].payload, second.records[0].payload) == ({"n": 0}, {})
    assert second.next is None


async def test_every_kind_of_filter_reaches_the_index(app, index):
    await index.upsert([point(n, n=n) for n in range(10)])
    filter = And(
        (
            Or((condition("n", "in", [1, 2, 3]), condition("n", "gt", 7))),
            Not((HasId((uid(2), uid(9))),)),
        )
    )
    page = await client(app).scroll(filter=filter)
    assert [r.payload["n"] for r in page.records] == [1, 3, 8]


async def test_points_without_vectors_reach_an_index_of_payloads(app, folder):
    batches = await EdgeIndex.open(
        folder / "batches", vector=None, dimension=None, fingerprint=None
    )
    app.state.indexes["batches"] = batches
    remote_batches = client(app, collection="batches")
    await remote_batches.upsert([Point(uid(1), None, {"state": "QUEUED"})])
    assert (await remote_batches.retrieve([uid(1)]))[0].vector is None
    await batches.close()


async def test_many_points_go_in_bodies_below_the_bound(app, index, monkeypatch):
    monkeypatch.setattr(remote, "_BODY_BYTES", 20_000)
    shoes = client(app)
    await shoes.upsert([point(n, text="x" * 1000) for n in range(100)])
    assert await index.count() == 100
    sizes = [int(request.headers["content-length"]) for request in shoes.transport.requests]
    assert len(sizes) > 4
    assert max(sizes) < 22_000


async def test_each_point_is_packed_once(app, index, monkeypatch):
    packed = 0
    pack = wire.pack

    def counted(value):
        nonlocal packed
        body = pack(value)
        packed += len(body)
        return body

    monkeypatch.setattr(remote, "_BODY_BYTES", 20_000)
    monkeypatch.setattr(wire, "pack", counted)
    shoes = client(app)
    await shoes.upsert([point(n, text="x" * 1000) for n in range(100)])
    # What is sent has a few bytes around the points of each body. (Answers are packed, too.)
    sent = sum(int(request.headers["content-length"]) for request in shoes.transport.requests)
    assert packed <= sent
    assert await index.count() == 100


async def test_optimising_is_asked_for_until_it_is_done(app, index, monkeypatch):
    monkeypatch.setattr(bulk, "OPTIMIZE_ANSWER_SECONDS", 0.02)
    started, release = 0, asyncio.Event()

    async def optimize():
        nonlocal started
        started += 1
        await release.wait()

    monkeypatch.setattr(index, "optimize", optimize)
    shoes = client(app)
    asking = asyncio.create_task(shoes.optimize())
    while len(shoes.transport.requests) < 4:  # noqa: ASYNC110
        await asyncio.sleep(0)
    release.set()
    await asking
    assert started == 1
    await shoes.optimize()
    assert started == 2


async def test_a_failed_optimisation_fails_for_who_asked(app, index, monkeypatch):
    async def optimize():
        raise IndexFailure("needs 3 GB of free disk")

    monkeypatch.setattr(index, "optimize", optimize)
    with pytest.raises(IndexFailure, match="needs 3 GB of free disk"):
        await client(app).optimize()


# What it refuses


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN[:-1], "tökén"])
async def test_a_wrong_token_is_refused(app, index, token):
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
    answer = await http.post(
        "/internal/v1/collections/shoes/points/count",
        content=wire.pack({}),
        headers={"authorization": f"Bearer {token}".encode()},
    )
    assert answer.status_code == 401
    answer = await http.post("/internal/v1/collections/shoes/points/count")
    assert answer.status_code == 401


async def test_without_a_token_the_route_is_off(app):
    app.state.token = None
    with pytest.raises(IndexFailure, match=r"disabled: set access\.internal_token_file"):
        await client(app, token="None").count()


async def test_the_route_is_not_in_the_public_description(app):
    assert app.openapi()["paths"] == {}


async def test_a_body_above_the_bound_is_refused(app, monkeypatch):
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 1000)
    with pytest.raises(IndexRefused, match="exceeds 1000 bytes"):
        await client(app).upsert([point(1, text="x" * 1000)])


async def test_a_body_of_undeclared_length_above_the_bound_is_refused(app, monkeypatch):
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 1000)

    async def endless():
        while True:
            yield b"x" * 100

    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
    answer = await http.post(
        "/internal/v1/collections/shoes/points/upsert",
        content=endless(),
        headers={"authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("upsert", b""),
        ("upsert", b"\xc1"),
        ("upsert", b"\x91" * 10_000),
        ("upsert", msgpack.packb([1])),
        ("upsert", msgpack.packb({"points": [{"id": uid(1), "vector": b"123", "payload": {}}]})),
        ("upsert", msgpack.packb({"points": [{"id": uid(1), "vector": "text", "payload": {}}]})),
        ("upsert", msgpack.packb({"points": [{"id": 1, "vector": None, "payload": {}}]})),
        ("upsert", msgpack.packb({"points": [{"id": uid(1), "vector": bytes(16)}]})),
        ("upsert", msgpack.packb({"points": [], "more": 1})),
        (
            "upsert",
            msgpack.packb({"points": [{"id": uid(1), "vector": bytes(16), "payload": {"a": b""}}]}),
        ),
        ("scroll", msgpack.packb({"limit": 0})),
        ("scroll", msgpack.packb({"limit": 10_001})),
        ("scroll", msgpack.packb({"limit": 1, "after": "x"})),
        ("scroll", msgpack.packb({"limit": 1, "filter": {"key": "a", "operator": "like"}})),
        ("count", msgpack.packb({"filter": {"key": "a", "operator": "near", "value": 1}})),
        ("count", msgpack.packb({"filter": {"and": [None]}})),
        ("count", msgpack.packb({"filter": 5})),
        ("retrieve", msgpack.packb({"ids": [1]})),
        ("delete", msgpack.packb({"ids": "all"})),
        ("merge", msgpack.packb({"id": uid(1), "payload": 3})),
        ("info", msgpack.packb({"x": 1})),
        ("optimize", msgpack.packb({})),
    ],
)
async def test_a_malformed_body_is_refused_and_changes_nothing(app, index, operation, body):
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
    answer = await http.post(
        f"/internal/v1/collections/shoes/points/{operation}",
        content=body,
        headers={"authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 422
    assert msgpack.unpackb(answer.content)["error"] == "IndexRefused"
    assert await index.count() == 0


async def test_a_filter_nested_without_end_is_refused(app):
    filter = condition("a", "exists")
    for _ in range(200):
        filter = Not((filter,))
    with pytest.raises(IndexRefused, match="deeper than 64 levels"):
        await client(app).count(filter)


@pytest.mark.parametrize("value", ["\ud800", 2**64, object()])
async def test_a_value_that_cannot_be_sent_is_refused_here(app, value):
    shoes = client(app)
    with pytest.raises(IndexRefused, match="cannot be sent"):
        await shoes.upsert([point(1, value=value)])
    assert shoes.transport.requests == []


async def test_an_unknown_collection_and_operation_are_named(app):
    with pytest.raises(IndexFailure, match="no collection 'boots'"):
        await client(app, collection="boots").count()
    with pytest.raises(IndexRefused, match="no operation 'drop': use one of count, delete"):
        await client(app)._ask("drop")


@pytest.mark.parametrize(
    "failure",
    [
        IndexRefused("a filter on x"),
        IndexMismatch("other model"),
        IndexUnavailable("engine restarts"),
        IndexFailure("disk broken"),
    ],
)
async def test_the_indexs_errors_arrive_as_what_they_are(app, index, monkeypatch, failure):
    async def count(filter=None):
        raise failure

    monkeypatch.setattr(index, "count", count)
    with pytest.raises(type(failure), match=str(failure)) as raised:
        await client(app, retry_seconds=0).count()
    assert type(raised.value) is type(failure)


# Retrying


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
        httpx.RemoteProtocolError("cut"),
        503,
        502,
        500,  # of Serve's proxy, while a killed replica is replaced
    ],
)
async def test_a_server_that_is_away_for_a_while_is_waited_for(app, index, failure):
    shoes = client(app, failures=[failure, failure])
    await shoes.upsert([point(1)])
    assert len(shoes.transport.requests) == 3
    assert await index.count() == 1


async def test_a_server_that_stays_away_is_reported_with_its_address(app):
    shoes = client(app, failures=[httpx.ConnectError("refused")] * 100, retry_seconds=0.3)
    with pytest.raises(IndexUnavailable, match=r"http://server/internal/.*/shoes/points does not"):
        await shoes.upsert([point(1)])
    assert len(shoes.transport.requests) > 1


@pytest.mark.parametrize("status", [200, 404])
async def test_an_answer_of_another_program_is_no_indexs_answer(app, status):
    shoes = client(app, failures=[status])
    with pytest.raises(IndexFailure, match="check that the address is that of a Lookalike server"):
        await shoes.count()
    assert len(shoes.transport.requests) == 1


async def test_a_failure_of_the_gateway_itself_is_not_repeated(app):
    @app.middleware("http")
    async def fail(request, following):
        return Response("{}", 500, media_type="application/problem+json")

    shoes = client(app)
    with pytest.raises(IndexFailure, match="answered 500"):
        await shoes.count()
    assert len(shoes.transport.requests) == 1


async def test_refusals_are_not_repeated(app):
    shoes = client(app)
    with pytest.raises(IndexRefused):
        await shoes.upsert([Point(uid(1), np.zeros(3, np.float32), {})])
    assert len(shoes.transport.requests) == 1


async def test_writing_remotely_while_others_search_keeps_points_whole(app, index):
    shoes = client(app)
    await asyncio.gather(
        *(shoes.upsert([point(n, n=n) for n in range(k, 200, 4)]) for k in range(4)),
        *(index.query(Query(np.ones(4, np.float32), limit=5)) for _ in range(20)),
    )
    assert await index.count() == 200
