"""From which score a picture is called similar: measured, kept, measured again."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.duplicates.pictures import edited, photograph
from tests.gateway.conftest import Gateway
from tests.support.configs import collection, serving_config

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import DuplicatesSpec
from lookalike_serving.books.record import Kind, Scope
from lookalike_serving.copies import calibration
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index.protocol import Point

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def config(folder: Path) -> ServingConfig:
    return serving_config(
        folder,
        collection(folder, "strange", duplicates=DuplicatesSpec(target_fpr=0.05)),
        collection(folder, "few", duplicates=DuplicatesSpec()),
        collection(folder, "plain"),
    )


def png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


COFFEE = png(photograph("coffee.png"))


async def fill(gateway: Gateway, name: str, first: int, last: int) -> None:
    """Documents without images, whose embeddings are nearer to that of a picture the lower their
    number is; each pair of them is different by about as much."""
    state = gateway.service.collections[name]
    asked = (await state.embedder.embed_image_timed(base64.b64decode(COFFEE), query=True)).vector
    points = []
    for number in range(first, last):
        noise = np.random.default_rng(number).normal(0, 1, len(asked))
        noise *= (0.3 + 0.02 * number) / np.linalg.norm(noise)
        vector = np.asarray(asked / np.linalg.norm(asked) + noise, np.float32)
        own = payload({}, Origin(str(number), f"file:///no/{number}.png"))
        points.append(Point(point_id(name, str(number)), vector, own))
    await state.index.upsert(points)


async def ask(client: httpx.AsyncClient, name: str, **asked: object) -> dict[str, Any]:
    body = {"image": COFFEE, "top_k": 100, **asked}
    answer = await client.post(f"/v1/collections/{name}/duplicates", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def similar(told: dict[str, Any]) -> list[str]:
    return [m["document_id"] for m in told["matches"] if m["verdict"] == "similar"]


async def test_a_smaller_share_calls_fewer_pictures_similar(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    await fill(gateway, "strange", 0, 60)
    own = await ask(client, "strange")
    measured = own["similarity"]
    assert (measured["target_fpr"], measured["pairs"], measured["sampled"]) == (0.05, 1770, 60)
    fewer = await ask(client, "strange", target_fpr=0.001)
    assert fewer["similarity"]["similar_from"] > measured["similar_from"]
    assert set(similar(fewer)) < set(similar(own))
    for match in own["matches"]:
        assert match["evidence"]["cosine"] >= measured["similar_from"] - 1e-4
    assert not any("target_fpr" in warning for warning in fewer["warnings"])


async def test_a_share_that_the_sample_cannot_show_is_told(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    await fill(gateway, "strange", 0, 60)
    told = await ask(client, "strange", target_fpr=1e-6)
    [warning] = [each for each in told["warnings"] if "target_fpr" in each]
    assert "less than one of the 1,770 pairs" in warning


@pytest.mark.parametrize("wrong", [0, -0.1, 0.2, "many"])
async def test_a_wrong_share_is_refused(client: httpx.AsyncClient, wrong: object) -> None:
    body = {"image": COFFEE, "target_fpr": wrong}
    answer = await client.post("/v1/collections/strange/duplicates", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "target_fpr"


async def test_it_decides_about_no_copy(client: httpx.AsyncClient) -> None:
    """Whatever share may be similar: one is a copy by its pixels, the other is not."""
    for name, pixels in (
        ("copy", edited(photograph("coffee.png"), "cropped")),
        ("other", photograph("chelsea.png")),
    ):
        image = base64.b64decode(png(pixels))
        answer = await client.post(
            "/v1/collections/few/documents",
            files={"image": ("a.png", image)},
            data={"document_id": name},
        )
        assert answer.status_code == 201, answer.text
    for share in (0.1, 1e-9):
        told = await ask(client, "few", target_fpr=share)
        assert [(m["document_id"], m["verdict"]) for m in told["matches"]] == [("copy", "copy")]
        assert told["similarity"]["similar_from"] is None  # two pictures are too few to tell
    assert (await ask(client, "few", similar=False))["similarity"] is None


async def test_it_is_kept_measured_again_as_the_collection_grows_and_told(
    client: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_AGAIN_AFTER", 0.0)
    await fill(gateway, "strange", 0, 60)
    first = (await ask(client, "strange"))["similarity"]
    state = gateway.service.collections["strange"]
    index = gateway.service.books_index(state.config)
    id = Scope.of(state.config).id(Kind.CHANCE)
    [record] = await index.retrieve([id])

    # Another process reads the record, and measures nothing.
    state.hashes.chance = None
    with monkeypatch.context() as patched:
        patched.setattr(calibration, "_measured", None)
        assert (await ask(client, "strange"))["similarity"] == first
    shown = (await client.get("/v1/collections/strange")).json()
    assert shown["similarity"] == first
    assert "similarity" not in (await client.get("/v1/collections/plain")).json()

    # A record that cannot be used is measured anew.
    state.hashes.chance = None
    await index.upsert([Point(id, None, {"chance": "{"})])
    assert "similarity" not in (await client.get("/v1/collections/strange")).json()
    again = (await ask(client, "strange"))["similarity"]
    assert again | {"measured_at": 0} == first | {"measured_at": 0}
    assert (await index.retrieve([id]))[0].payload.keys() == record.payload.keys()

    await fill(gateway, "strange", 60, 65)  # less than a fifth more
    assert (await ask(client, "strange"))["similarity"]["documents"] == 60
    await fill(gateway, "strange", 65, 80)
    assert (await ask(client, "strange"))["similarity"]["documents"] == 80
