"""`min_score: auto`: thresholds that were stored for a retriever, and when they are used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.gateway.conftest import Gateway, running, usual_config
from tests.support.configs import retriever

from lookalike_crds.config import RetrieverConfig, ServingConfig, light_of
from lookalike_crds.retriever import SearchSpec
from lookalike_crds.stages import DiversityStage
from lookalike_serving.index.protocol import IndexUnavailable
from lookalike_serving.search import calibration

pytestmark = pytest.mark.asyncio(loop_scope="module")
_PATH = "/v1/retrievers/{}/calibration"
_TEXT = [{"type": "text", "value": "red mug"}]
_DOCUMENT = [{"type": "document", "value": "red"}]


@pytest.fixture(scope="module")
def config(folder: Path) -> ServingConfig:
    asking = retriever("asking", "catalogue", search=SearchSpec(min_score="auto"))
    usual = usual_config(folder)
    return usual.model_copy(update={"retrievers": (*usual.retrievers, asking)})


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _stored(client: httpx.AsyncClient, picture: Callable[..., bytes]) -> None:
    for colour in ("red", "green", "blue"):
        files = {"image": picture(colour)}
        address = "/v1/collections/catalogue/documents"
        answer = await client.post(address, data={"document_id": colour}, files=files)
        assert answer.status_code == 201, answer.text


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def _without(client: httpx.AsyncClient) -> AsyncIterator[None]:
    yield
    for name in ("shop", "asking"):
        await client.delete(_PATH.format(name))


def threshold(min_score: float) -> dict[str, Any]:
    measured = {"precision": 0.91, "low": 0.8, "high": 1.0, "recall": 0.7, "empty": 0.1}
    return {"min_score": min_score, "wanted": 0.9, "count": 40, "pairs": 400, **measured}


async def stored(
    client: httpx.AsyncClient, retriever: str = "shop", **min_scores: float
) -> httpx.Response:
    scores = (await client.get(f"/v1/retrievers/{retriever}")).json()["scores"]
    thresholds = {kind: threshold(each) for kind, each in min_scores.items()}
    body = {"scores": scores, "basis": "judgments", "thresholds": thresholds}
    return await client.put(_PATH.format(retriever), json=body)


async def search(client: httpx.AsyncClient, retriever: str = "shop", **body: Any) -> httpx.Response:
    body.setdefault("queries", _TEXT)
    return await client.post(f"/v1/retrievers/{retriever}/search", json=body)


async def best(client: httpx.AsyncClient, queries: Any = _TEXT) -> list[float]:
    answer = (await search(client, queries=queries)).json()
    return [each["score"] for each in answer["results"]]


async def test_the_threshold_of_the_kind_of_query_is_used(client: httpx.AsyncClient) -> None:
    first, second, *_ = await best(client)
    image, *_ = await best(client, _DOCUMENT)
    of_text, of_image = (first + second) / 2, image / 2
    answer = await stored(client, text=of_text, image=of_image)
    assert answer.status_code == 200, answer.text
    assert answer.json()["holds"] is True
    assert (await client.get(_PATH.format("shop"))).json() == answer.json()

    found = (await search(client, min_score="auto")).json()
    assert (len(found["results"]), found["min_score"]) == (1, of_text)
    found = (await search(client, min_score="auto", queries=_DOCUMENT)).json()
    assert found["min_score"] == of_image
    assert "min_score" not in (await search(client)).json(), "nobody asked for a cut-off"
    refused = await search(client, min_score="auto", queries=[*_TEXT, *_DOCUMENT])
    assert refused.status_code == 422
    assert "no threshold for queries of text and image together" in refused.json()["detail"]


async def test_an_empty_answer_says_why(client: httpx.AsyncClient) -> None:
    first, *_ = await best(client)
    await stored(client, text=first + 0.125)
    answer = (await search(client, min_score="auto")).json()
    assert answer["results"] == []
    assert answer["warnings"] == [
        f"no result reaches the calibrated min_score {first + 0.125:.4g} for text queries: the "
        f"best score was {first:.4g}"
    ]


async def test_retrievers_tell_their_calibration(client: httpx.AsyncClient) -> None:
    async def told() -> dict[str, Any]:
        items = (await client.get("/v1/retrievers")).json()["items"]
        return {each["name"]: each["calibration"] for each in items}

    assert set((await told()).values()) == {None}
    kept = (await stored(client, text=0.25)).json()
    found = await told()
    assert found.pop("shop") == kept
    assert set(found.values()) == {None}
    assert (await client.get("/v1/retrievers/shop")).json()["calibration"] == kept
    await client.delete(_PATH.format("shop"))
    assert (await told())["shop"] is None


async def test_without_a_calibration_a_request_is_refused_and_a_retriever_warns(
    client: httpx.AsyncClient,
) -> None:
    for name in ("shop", "asking"):
        refused = await search(client, name, min_score="auto")
        assert (refused.status_code, refused.json()["code"]) == (409, "not-calibrated")
        assert f"retriever '{name}' has no calibration" in refused.json()["detail"]
        assert "`lookalike calibrate --save`" in refused.json()["detail"]
    answer = (await search(client, "asking")).json()
    assert len(answer["results"]) == 3
    (warning,) = answer["warnings"]
    assert warning.startswith("min_score auto leaves nothing out: retriever 'asking' has no calib")
    assert (await client.get(_PATH.format("shop"))).status_code == 404
    assert (await client.delete(_PATH.format("shop"))).status_code == 404


async def test_the_default_of_a_retriever_is_overruled_by_a_number(
    client: httpx.AsyncClient,
) -> None:
    await stored(client, "asking", text=2.0)
    assert (await client.get("/v1/retrievers/asking")).json()["search"]["min_score"] == "auto"
    assert (await search(client, "asking")).json()["results"] == []
    answer = (await search(client, "asking", min_score=-1)).json()
    assert (len(answer["results"]), answer["warnings"]) == (3, [])


async def test_a_calibration_of_other_scores_is_not_used(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    await stored(client, text=2.0)
    before = gateway.service.config
    changed = RetrieverConfig(
        name="shop",
        collections=before.retrievers[0].collections,
        search=SearchSpec(stages=(DiversityStage(),)),
    )
    others = tuple(each for each in before.retrievers if each.name != "shop")
    gateway.service.take(light_of(before).model_copy(update={"retrievers": (*others, changed)}))
    try:
        refused = await search(client, min_score="auto")
        assert refused.status_code == 409
        assert "no longer holds, since this has changed: stages" in refused.json()["detail"]
        told = (await client.get(_PATH.format("shop"))).json()
        assert (told["holds"], told["changed"]) == (False, ["stages"])
    finally:
        gateway.service.take(light_of(before))
    assert (await search(client, min_score="auto")).json()["results"] == []
    own = await search(client, min_score="auto", rerank=[{"type": "Diversity"}])
    assert own.status_code == 422
    assert "has others: leave out rerank" in own.json()["detail"]


async def test_what_was_measured_with_other_scores_is_not_stored(
    client: httpx.AsyncClient,
) -> None:
    body = {"scores": "0" * 16, "basis": "judgments", "thresholds": {"text": threshold(0.2)}}
    answer = await client.put(_PATH.format("shop"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "scores-changed")
    answer = await stored(client, sound=0.2)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"].startswith("thresholds")
    answer = await stored(client, "ranks", text=0.2)
    assert answer.status_code == 422
    assert "RRF, whose scores follow from ranks" in answer.json()["detail"]


@pytest.mark.parametrize("value", ["automatic", True, "0.5", [1]])
async def test_a_wrong_cut_off_is_named(client: httpx.AsyncClient, value: Any) -> None:
    answer = await search(client, min_score=value)
    assert answer.status_code == 422
    assert "write a number, or auto for the threshold" in answer.json()["detail"]


async def test_copies_have_a_confidence_and_no_calibration(
    client: httpx.AsyncClient,
) -> None:
    queries = [{"type": "image", "value": "data:,"}]
    answer = await search(client, mode="copies", min_score="auto", queries=queries)
    assert answer.status_code == 422
    assert "min_score: is a number with mode copies" in answer.json()["detail"]


async def test_a_search_does_not_fail_because_records_cannot_be_read(
    client: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise IndexUnavailable("the server is away")

    monkeypatch.setattr(calibration.Calibrations, "read", fails)
    answer = (await search(client, "asking")).json()
    assert len(answer["results"]) == 3
    assert "the calibration cannot be read: the server is away" in answer["warnings"][0]
    assert (await search(client, min_score="auto")).status_code == 503


async def test_a_calibration_is_still_there_after_a_restart(
    client: httpx.AsyncClient, gateway: Gateway, config: ServingConfig
) -> None:
    made = (await stored(client, text=0.2)).json()
    await gateway.service.close()
    async for again in running(config):
        assert (await again.client.get(_PATH.format("shop"))).json() == made
