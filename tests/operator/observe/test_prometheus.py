"""Samples from a real HTTP server that answers as Prometheus does, or does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from lookalike_crds.retriever import RetrieverSpec
from lookalike_operator.observe.prometheus import Prometheus
from lookalike_operator.observe.scaling import samples
from lookalike_operator.plan.model import Meta


class Answers:
    """What the server says next, and what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = vector(1.5)
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.query["query"])
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return web.Response(status=self.status, text=text)


def vector(*values: float | str) -> dict[str, Any]:
    result = [{"metric": {}, "value": [0, str(value)]} for value in values]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


@pytest.fixture
async def answers() -> Answers:
    return Answers()


@pytest.fixture
async def url(answers: Answers) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/api/v1/query", answers.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def prometheus(url: str) -> AsyncIterator[Prometheus]:
    prometheus = Prometheus(url, keep=0.0, timeout=20)
    yield prometheus
    await prometheus.close()


SCALAR = {"status": "success", "data": {"resultType": "scalar", "result": [0, "7"]}}
REFUSED = {"status": "error", "error": "parse error:\n unexpected end"}


@pytest.mark.parametrize(
    ("status", "body", "value", "error"),
    [
        (200, vector(2.5), 2.5, None),
        (200, SCALAR, 7.0, None),
        (200, vector(), None, "no data"),
        (200, vector("NaN"), None, "no data"),
        (200, vector("+Inf"), None, "no data"),
        (200, vector(1, 2), None, "the query returns 2 series: aggregate them to one"),
        (400, REFUSED, None, "refused the query: parse error: unexpected end"),
        (503, {}, None, "refused the query: HTTP 503"),
        (200, "<html>", None, "is unreachable"),
    ],
)
async def test_an_answer_is_a_number_or_the_reason_why_there_is_none(
    prometheus: Prometheus,
    answers: Answers,
    status: int,
    body: Any,
    value: float | None,
    error: str | None,
) -> None:
    answers.status, answers.body = status, body
    sample = await prometheus.sample("up")
    assert sample.value == value
    assert (sample.error is None) is (error is None)
    if error is not None:
        assert error in (sample.error or "")
        assert "\n" not in (sample.error or "")


async def test_nothing_there_is_a_reason_and_no_crash() -> None:
    prometheus = Prometheus("http://127.0.0.1:1")
    sample = await prometheus.sample("up")
    assert sample.value is None
    assert "http://127.0.0.1:1 is unreachable" in (sample.error or "")
    await prometheus.close()


async def test_without_an_address_the_sample_says_how_to_give_one() -> None:
    sample = await Prometheus(None).sample("up")
    assert "--prometheus-url" in (sample.error or "")


async def test_a_query_is_asked_once_in_a_scrape_interval(url: str, answers: Answers) -> None:
    now = [0.0]
    prometheus = Prometheus(url, keep=10.0, timeout=20, clock=lambda: now[0])
    for now[0] in (0.0, 5.0, 9.9, 10.0, 15.0):
        await prometheus.sample("up")
    assert len(answers.asked) == 2
    await prometheus.close()


META = Meta(namespace="n", name="search", uid="u", generation=1)


def spec(**autoscaling: Any) -> RetrieverSpec:
    metrics = [{"preset": "Concurrency", "target": 4}, {"query": "sum(mine)", "target": 1}]
    return RetrieverSpec.model_validate(
        {"collections": [{"name": "c"}], "autoscaling": {"metrics": metrics, **autoscaling}}
    )


async def test_one_sample_for_each_metric_in_order(
    prometheus: Prometheus, answers: Answers
) -> None:
    found, idle = await samples(prometheus, META, spec())
    assert [sample.value for sample in found] == [1.5, 1.5]
    assert idle is None
    assert 'sum(mine{namespace="n"})' in answers.asked


async def test_idleness_is_asked_only_where_it_matters(
    prometheus: Prometheus, answers: Answers
) -> None:
    found, idle = await samples(prometheus, META, spec(idleTimeoutSeconds=60))
    assert len(found) == 2
    assert idle == 1.5
    assert len(answers.asked) == 3


async def test_a_retriever_that_does_not_scale_asks_nothing(
    prometheus: Prometheus, answers: Answers
) -> None:
    fixed = RetrieverSpec.model_validate({"collections": [{"name": "c"}]})
    assert await samples(prometheus, META, fixed) == ((), None)
    suspended = spec().model_copy(update={"suspend": True})
    assert await samples(prometheus, META, suspended) == ((), None)
    assert answers.asked == []
