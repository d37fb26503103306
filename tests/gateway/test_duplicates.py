"""Copies over HTTP: found, linked, refused; with hashes, and in a collection that keeps none."""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.duplicates.pictures import edited, photograph
from tests.gateway.conftest import Gateway
from tests.support.configs import collection, serving_config

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import DuplicatesSpec, Sensitivity
from lookalike_serving.documents.ids import point_id

NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")

pytestmark = pytest.mark.asyncio(loop_scope="module")


def png(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def config(folder: Path) -> ServingConfig:
    return serving_config(
        folder,
        collection(folder, "hashed", duplicates=DuplicatesSpec()),
        collection(folder, "strict", duplicates=DuplicatesSpec(sensitivity=Sensitivity.STRICT)),
        collection(folder, "plain"),
        collection(folder, "uploads", duplicates=DuplicatesSpec()),
    )


async def upload(
    client: httpx.AsyncClient, collection: str, pixels: np.ndarray, **fields: str
) -> httpx.Response:
    return await client.post(
        f"/v1/collections/{collection}/documents",
        files={"image": ("a.png", png(pixels))},
        data=fields,
    )


@pytest.fixture(scope="module")
def filled() -> set[str]:
    return set()


async def fill(client: httpx.AsyncClient, collection: str, filled: set[str]) -> None:
    if collection in filled:
        return
    filled.add(collection)
    for name in NAMES:
        answer = await upload(client, collection, photograph(name), document_id=name)
        assert answer.status_code == 201, answer.text


async def ask(
    client: httpx.AsyncClient, collection: str, image: bytes, **asked: object
) -> dict[str, object]:
    body = {"image": base64.b64encode(image).decode(), **asked}
    answer = await client.post(f"/v1/collections/{collection}/duplicates", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("collection", ["hashed", "plain"])
async def test_the_same_pixels_in_another_file_are_exact(
    client: httpx.AsyncClient, filled: set[str], collection: str
) -> None:
    await fill(client, collection, filled)
    told = await ask(client, collection, png(photograph("coffee.png"), compress_level=1))
    first = told["matches"][0]
    assert (first["document_id"], first["verdict"]) == ("coffee.png", "exact")
    assert first["evidence"]["content_hash"] is True
    assert first["confidence"] == 1.0
    assert [m["verdict"] for m in told["matches"]].count("exact") == 1


@pytest.mark.parametrize("collection", ["hashed", "plain"])
@pytest.mark.parametrize("edit", ["cropped", "mirrored", "grey", "framed"])
async def test_an_edited_picture_is_a_copy_with_its_region(
    client: httpx.AsyncClient, filled: set[str], collection: str, edit: str
) -> None:
    await fill(client, collection, filled)
    told = await ask(
        client, collection, png(edited(photograph("chelsea.png"), edit)), similar=False
    )
    (only,) = told["matches"]
    assert (only["document_id"], only["verdict"]) == ("chelsea.png", "copy")
    assert len(only["evidence"]["region"]["document"]) == 4
    assert only["image_url"].endswith("/documents/chelsea.png/image")


async def test_another_picture_is_neither(client: httpx.AsyncClient, filled: set[str]) -> None:
    await fill(client, "hashed", filled)
    told = await ask(client, "hashed", png(photograph("coins.png")), similar=False)
    assert told["matches"] == []
    assert told["warnings"] == []
    assert told["hashes"] == {"documents": len(NAMES), "hashed": len(NAMES)}


async def test_a_collection_without_hashes_says_so(
    client: httpx.AsyncClient, filled: set[str]
) -> None:
    await fill(client, "plain", filled)
    told = await ask(client, "plain", png(photograph("coffee.png")))
    assert any("spec.duplicates is not set" in each for each in told["warnings"])


async def test_the_collections_sensitivity_holds_unless_the_request_says_otherwise(
    client: httpx.AsyncClient, filled: set[str]
) -> None:
    await fill(client, "strict", filled)
    covered = photograph("coffee.png").copy()
    covered[40:100, 60:160] = (240, 200, 40)
    assert (await ask(client, "strict", png(covered), similar=False))["matches"] == []
    told = await ask(client, "strict", png(covered), similar=False, sensitivity="balanced")
    assert [m["document_id"] for m in told["matches"]] == ["coffee.png"]


async def test_a_picture_that_is_gone_is_exact_by_its_hash_or_told(
    client: httpx.AsyncClient, gateway: Gateway, folder: Path
) -> None:
    pixels = photograph("rocket.jpg")[10:]
    stored = await upload(client, "uploads", pixels, document_id="gone")
    assert stored.status_code == 201
    digest = stored.json()["sha256"]
    gateway.service.pictures.clear()
    (folder / "images" / digest[:2] / f"{digest}.png").unlink()
    told = await ask(client, "uploads", png(pixels, compress_level=2), similar=False)
    assert [m["verdict"] for m in told["matches"]] == ["exact"]
    told = await ask(client, "uploads", png(edited(pixels, "jpeg")), similar=False)
    assert told["matches"] == []
    assert any("could not be read" in each and "gone" in each for each in told["warnings"])
    await client.delete("/v1/collections/uploads/documents/gone")


async def test_a_duplicate_is_stored_linked_or_refused_as_the_upload_asks(
    client: httpx.AsyncClient,
) -> None:
    pixels = photograph("astronaut.png")
    copy = edited(pixels, "jpeg")
    first = await upload(client, "uploads", pixels, document_id="first", on_duplicate="reject")
    assert first.status_code == 201, first.text
    refused = await upload(client, "uploads", copy, document_id="second", on_duplicate="reject")
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["code"] == "duplicate"
    assert "'first'" in problem["detail"]
    missing = await client.get("/v1/collections/uploads/documents/second")
    assert missing.status_code == 404
    linked = await upload(client, "uploads", copy, document_id="third", on_duplicate="link")
    assert linked.status_code == 201
    assert linked.json()["duplicate_of"] == "first"
    again = await client.get("/v1/collections/uploads/documents/third")
    assert again.json()["duplicate_of"] == "first"
    allowed = await upload(client, "uploads", copy, document_id="fourth")
    assert allowed.status_code == 201
    assert "duplicate_of" not in allowed.json()
    # A document that is replaced by its own picture is no duplicate of itself.
    same = await upload(client, "uploads", pixels, document_id="first", on_duplicate="link")
    assert same.status_code == 200
    assert same.json()["duplicate_of"] in {"third", "fourth"}


async def test_a_batch_links_and_refuses_item_by_item(client: httpx.AsyncClient) -> None:
    copy = base64.b64encode(png(edited(photograph("astronaut.png"), "half"))).decode()
    other = base64.b64encode(png(photograph("ihc.png"))).decode()
    items = [
        {"document_id": "linked", "image": copy, "on_duplicate": "link"},
        {"document_id": "refused", "image": copy, "on_duplicate": "reject"},
        {"document_id": "new", "image": other, "on_duplicate": "reject"},
    ]
    sent = await client.post("/v1/collections/uploads/batches", json={"items": items})
    assert sent.status_code == 202, sent.text
    batch = f"/v1/batches/{sent.json()['batch_id']}"
    for _ in range(1000):
        if (await client.get(batch)).json()["state"] not in {"QUEUED", "RUNNING"}:
            break
        await asyncio.sleep(0.05)
    told = (await client.get(f"{batch}/items")).json()["items"]
    assert [item["state"] for item in told] == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert told[1]["error"]["code"] == "duplicate"
    linked = await client.get("/v1/collections/uploads/documents/linked")
    assert linked.json()["duplicate_of"] in {"first", "third", "fourth"}


async def test_a_wrong_request_says_what_is_possible(client: httpx.AsyncClient) -> None:
    url = "/v1/collections/uploads/duplicates"
    image = base64.b64encode(png(photograph("coffee.png"))).decode()
    answer = await client.post(url, json={"image": image, "sensitivity": "high"})
    assert answer.status_code == 422
    assert "strict" in answer.text
    wrong = await upload(client, "uploads", photograph("coffee.png"), on_duplicate="maybe")
    assert wrong.status_code == 422
    assert "allow, link or reject" in wrong.text
    answer = await client.post(url, json={"image": base64.b64encode(b"no picture").decode()})
    assert answer.status_code == 422
    assert (
        await client.post("/v1/collections/none/duplicates", json={"image": image})
    ).status_code == 404


async def test_documents_of_before_are_counted_until_they_are_stored_again(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    state = gateway.service.collection("uploads")
    (record,) = await state.index.retrieve([point_id("uploads", "first")])
    own = {k: v for k, v in record.payload["_lookalike"].items() if k != "copies"}
    await state.index.replace_payload(record.id, {**record.payload, "_lookalike": own})
    state.hashes._read_at = 0.0
    fresh = type(state.hashes)(state.index)
    coverage = await fresh.ready()
    assert coverage.documents - coverage.hashed == 1
