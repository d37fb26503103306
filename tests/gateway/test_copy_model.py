"""A collection with a copy model: it finds copies by that model, and searches by the other one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
import torch
from tests.duplicates.pictures import edited, photograph
from tests.gateway.conftest import Gateway
from tests.gateway.test_duplicates import ask, png, upload
from tests.support.configs import collection, retriever, serving_config
from torch import nn

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import DuplicatesSpec, ModelSpec, Provider
from lookalike_serving.documents.ids import point_id

NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning"),
]


class Thumbnail(nn.Module):
    """A picture in 4 x 4 pixels: 48 numbers, less those of grey."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)


@pytest.fixture(scope="module")
def config(folder: Path) -> ServingConfig:
    file = folder / "thumbnail.torchscript.pt"
    torch.jit.script(Thumbnail()).save(str(file))  # type: ignore[no-untyped-call]
    copies = ModelSpec(provider=Provider.TORCH_SCRIPT, name="thumbnail", weights=str(file))
    gone = copies.model_copy(update={"weights": str(folder / "gone.pt")})
    return serving_config(
        folder,
        collection(folder, "photos", duplicates=DuplicatesSpec(), copy_model=copies),
        collection(folder, "closed", duplicates=DuplicatesSpec(), copy_model=gone),
        retrievers=(retriever("all", "photos"),),
    )


@pytest.fixture(scope="module")
def filled() -> set[str]:
    return set()


async def fill(client: httpx.AsyncClient, filled: set[str]) -> None:
    if not filled:
        for name in NAMES:
            answer = await upload(client, "photos", photograph(name), document_id=name)
            assert answer.status_code == 201, answer.text
        filled.update(NAMES)


async def test_a_copy_is_found_by_the_copy_models_vectors(
    client: httpx.AsyncClient, gateway: Gateway, filled: set[str]
) -> None:
    await fill(client, filled)
    shown = photograph("coffee.png")[40:, 90:]
    told = await ask(client, "photos", png(shown))
    first = told["matches"][0]
    assert (first["document_id"], first["verdict"]) == ("coffee.png", "copy")
    state = gateway.service.collection("photos")
    assert state.copier is not None
    (record,) = await state.index.retrieve([point_id("photos", "coffee.png")], with_vector=True)
    assert (record.vector.shape, record.copies.shape) == ((128,), (48,))
    expected = await state.copier.embed_image(png(shown))
    assert first["evidence"]["cosine"] == pytest.approx(float(expected @ record.copies), abs=2e-3)
    own = await state.embedder.embed_image(png(shown))
    assert first["evidence"]["cosine"] != pytest.approx(float(own @ record.vector), abs=2e-3)


async def test_what_searches_and_questions_use_is_another_model(
    client: httpx.AsyncClient, gateway: Gateway, filled: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(client, filled)
    state = gateway.service.collection("photos")
    asked = []
    query = state.index.query

    async def noted(each):
        asked.append((each.of_copies, len(each.vector)))
        return await query(each)

    monkeypatch.setattr(state.index, "query", noted)
    await ask(client, "photos", png(photograph("rocket.jpg")))
    body = {"queries": [{"type": "document", "value": "rocket.jpg"}]}
    answer = await client.post("/v1/retrievers/all/search", json=body)
    assert answer.status_code == 200, answer.text
    assert set(asked) == {(True, 48), (False, 128)}


async def test_uploads_and_scans_follow_the_copy_model(
    client: httpx.AsyncClient, filled: set[str]
) -> None:
    await fill(client, filled)
    turned = edited(photograph("chelsea.png"), "half")
    linked = await upload(client, "photos", turned, document_id="half", on_duplicate="link")
    assert linked.status_code == 201, linked.text
    assert linked.json()["duplicate_of"] == "chelsea.png"
    scans = "/v1/collections/photos/duplicate-scans"
    scan = (await client.post(scans, json={"sensitivity": "balanced"})).json()["scan_id"]
    while (told := (await client.get(f"{scans}/{scan}")).json())["state"] != "COMPLETED":
        assert told["state"] in ("QUEUED", "RUNNING"), told
        await asyncio.sleep(0.05)
    groups = (await client.get(f"{scans}/{scan}/groups")).json()["items"]
    (group,) = [
        (g["keeper"]["document_id"], [m["document_id"] for m in g["members"]]) for g in groups
    ]
    assert group == ("chelsea.png", ["half"])
    assert (await client.delete("/v1/collections/photos/documents/half")).status_code == 204
    told = await ask(client, "photos", png(turned))
    assert [match["document_id"] for match in told["matches"] if match["verdict"] == "copy"] == [
        "chelsea.png"
    ]


async def test_its_models_are_listed_and_a_missing_one_closes_its_collection_alone(
    client: httpx.AsyncClient,
) -> None:
    models = (await client.get("/v1/models")).json()["items"]
    assert {each["name"]: each["collections"] for each in models} == {
        "demo-clip": ["photos"],
        "thumbnail": ["photos"],
    }
    closed = await client.get("/v1/collections/closed/documents")
    assert closed.status_code == 503
    assert "gone.pt" in closed.json()["detail"]
