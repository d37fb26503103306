"""Health, readiness, metrics, the API's description, and what is served when a part fails."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving.index.protocol import IndexUnavailable

pytestmark = pytest.mark.asyncio(loop_scope="module")

Picture = Callable[..., bytes]
REASON = "provider Onnx reads an .onnx file"


@pytest.fixture(scope="module")
def config(serving: Any) -> ServingConfig:
    """The usual service, one of its collections with a model that cannot be loaded."""
    usual: ServingConfig = serving()
    model = ModelSpec(provider=Provider.ONNX, name="resnet50")
    broken = usual.collections[1].model_copy(update={"model": model})
    first, _, *others = usual.collections
    return usual.model_copy(update={"collections": (first, broken, *others)})


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _one_document(client: httpx.AsyncClient, picture: Picture) -> None:
    image = base64.b64encode(picture("red")).decode()
    await client.post("/v1/collections/catalogue/documents", json={"image": image})


async def test_a_broken_collection_does_not_take_the_others_with_it(
    client: httpx.AsyncClient,
) -> None:
    body = {"queries": [{"type": "text", "value": "anything"}]}
    assert (await client.post("/v1/retrievers/shop/search", json=body)).status_code == 200
    for address in ("/v1/retrievers/both/search", "/v1/collections/archive/documents"):
        answer = await client.post(address, json=body)
        assert answer.status_code == 503
        assert REASON in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) > 0


async def test_alive_is_not_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).status_code == 200
    ready = await client.get("/readyz")
    assert ready.status_code == 503
    (part,) = ready.json()["errors"]
    assert part["path"] == "collections.archive"
    assert REASON in part["message"]


async def test_an_index_that_goes_away_later_is_told_like_one_that_never_came(
    gateway: Any, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: str) -> None:
        raise IndexUnavailable("http://qdrant:6333 is unreachable")

    monkeypatch.setattr(gateway.service, "failures", {})
    monkeypatch.setattr(gateway.service, "canary", away)
    told = (await client.get("/readyz")).json()
    assert told["code"] == "index-unavailable"
    assert "http://qdrant:6333 is unreachable" in told["detail"]


async def test_collections_tell_state_and_reason(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/collections")).json()
    told = {item["name"]: item for item in listed["items"]}
    assert list(told) == sorted(told)
    assert listed["next_cursor"] is None
    assert (told["catalogue"]["state"], told["catalogue"]["documents"]) == ("Ready", 1)
    assert told["archive"]["state"] == "Unavailable"
    assert REASON in told["archive"]["reason"]
    one = (await client.get("/v1/collections/catalogue")).json()
    assert one == told["catalogue"]
    assert {"name": "price", "type": "Float"} in one["fields"]


async def test_short_lists_are_paged_like_long_ones(client: httpx.AsyncClient) -> None:
    names: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/retrievers", params=params)).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["both", "dot", "euclid", "ranks", "shop"]


async def test_a_model_tells_what_it_is_and_who_uses_it(client: httpx.AsyncClient) -> None:
    (model,) = (await client.get("/v1/models")).json()["items"]
    assert model["collections"] == ["catalogue", "dot", "euclid"]
    assert model["supports_text"] is True


async def test_metrics_have_bounded_labels(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.get(f"/v1/collections/none-{number}")
        await client.get(f"/no/such/{number}")
    text = (await client.get("/metrics")).text
    assert 'route="/v1/collections/{collection}"' in text
    assert 'route="unmatched"' in text
    assert "none-" not in text
    assert 'lookalike_errors_total{code="not-found"}' in text
    assert 'lookalike_documents{collection="catalogue"} 1.0' in text
    assert 'lookalike_collection_open{collection="archive"} 0.0' in text


async def test_metrics_tell_of_stages_and_batches(client: httpx.AsyncClient) -> None:
    body = {"queries": [{"type": "text", "value": "red mug"}]}
    await client.post("/v1/retrievers/shop/search", json=body)
    text = (await client.get("/metrics")).text
    assert 'lookalike_search_stage_seconds_count{stage="index"}' in text
    assert 'lookalike_embed_batch_size_bucket{kind="text"' in text
    assert "lookalike_embed_queue_depth{" in text


async def test_the_description_covers_every_route(client: httpx.AsyncClient) -> None:
    description = (await client.get("/openapi.json")).json()
    references = _references(description)
    assert references <= set(description["components"]["schemas"])
    search = description["paths"]["/v1/retrievers/{retriever}/search"]["post"]
    content = search["requestBody"]["content"]
    assert content.keys() == {"application/json", "multipart/form-data"}
    assert content["application/json"]["examples"]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            if path.startswith("/v1"):
                assert {"401", "429"} <= operation["responses"].keys(), (method, path)


async def test_every_name_in_an_answer_is_described_in_snake_case(
    client: httpx.AsyncClient,
) -> None:
    # Resources are written in camelCase, and parts of their status are answered in snake case.
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    assert "SearchSettingsShown" in schemas
    names = {name for each in schemas.values() for name in each.get("properties", {})}
    assert {name for name in names if name != name.lower()} == set()


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"].rsplit("/", 1)[1]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*map(_references, node.values()))
    if isinstance(node, list):
        return set().union(*map(_references, node))
    return set()


async def test_the_api_page_needs_no_other_host(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    for address in addresses:
        assert address.startswith("/")
        assert (await client.get(address)).status_code == 200
