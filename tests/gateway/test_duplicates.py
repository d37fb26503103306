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
from tests.support.configs import collection, retriever, serving_config

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import DuplicatesSpec, Sensitivity
from lookalike_serving.documents.ids import point_id
from lookalike_serving.indexes import hashes

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
        collection(folder, "dismissed", duplicates=DuplicatesSpec()),
        collection(folder, "deleted", duplicates=DuplicatesSpec()),
        collection(folder, "featured", duplicates=DuplicatesSpec(features=True)),
        collection(folder, "searched", duplicates=DuplicatesSpec()),
        retrievers=(retriever("both", "hashed", "searched"),),
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
    assert told["hashes"]["documents"] == told["hashes"]["hashed"] == len(NAMES)


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


async def dismiss(client: httpx.AsyncClient, **body: object) -> httpx.Response:
    return await client.post("/v1/collections/dismissed/duplicates/dismissals", json=body)


async def found(client: httpx.AsyncClient, pixels: np.ndarray) -> list[str]:
    told = await ask(client, "dismissed", png(pixels), similar=False)
    return [match["document_id"] for match in told["matches"]]


async def test_a_dismissed_document_is_never_found_for_that_picture_again(
    client: httpx.AsyncClient,
) -> None:
    url = "/v1/collections/dismissed/duplicates/dismissals"
    pixels = photograph("chelsea.png")
    await upload(client, "dismissed", pixels, document_id="cat")
    copy = edited(pixels, "grey")
    told = await ask(client, "dismissed", png(copy), similar=False)
    assert [match["document_id"] for match in told["matches"]] == ["cat"]
    content = told["content_hash"]
    said = await dismiss(client, documents=["cat"], content_hash=content)
    assert said.status_code == 201, said.text
    assert await found(client, copy) == []
    assert await found(client, edited(pixels, "cropped")) == ["cat"]  # another picture
    stored = await upload(client, "dismissed", copy, document_id="grey", on_duplicate="reject")
    assert stored.status_code == 201, stored.text
    (listed,) = (await client.get(url)).json()["items"]
    assert (listed["documents"], listed["content_hash"]) == (["cat"], content)
    # It was said about the image that the document had.
    await upload(client, "dismissed", edited(pixels, "jpeg"), document_id="cat")
    assert set(await found(client, copy)) == {"cat", "grey"}
    # Of two documents it holds for the picture of either.
    assert (await dismiss(client, documents=["cat", "grey"])).status_code == 201
    assert await found(client, copy) == ["grey"]
    taken = await client.delete(url, params={"document": ["grey", "cat"]})
    assert taken.status_code == 204
    assert set(await found(client, copy)) == {"cat", "grey"}
    wanted = {"document": "cat", "content_hash": content}
    assert (await client.delete(url, params=wanted)).status_code == 204
    assert (await client.delete(url, params=wanted)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"documents": ["a"]},
        {"documents": ["a", "a"]},
        {"documents": ["a", "b"], "content_hash": "0" * 32},
    ],
)
async def test_a_dismissal_is_about_two_pictures(
    client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    assert (await dismiss(client, **body)).status_code == 422


async def test_without_opencv_every_way_in_says_what_to_install(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "can_compare", lambda: False)
    image = base64.b64encode(png(photograph("coffee.png"))).decode()
    asked = await client.post("/v1/collections/uploads/duplicates", json={"image": image})
    scan = await client.post("/v1/collections/uploads/duplicate-scans", json={})
    stored = await upload(client, "uploads", photograph("moon.png"), on_duplicate="reject")
    for answer in (asked, scan, stored):
        assert (answer.status_code, answer.json()["code"]) == (501, "duplicates-not-installed")


async def test_hashes_of_deleted_documents_leave_the_memory(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    state = gateway.service.collection("deleted")
    points = {name: point_id("deleted", name) for name in ("a", "b", "c")}
    for name, picture in zip(points, NAMES, strict=False):
        await upload(client, "deleted", photograph(picture), document_id=name)
    assert (await state.hashes.ready()).hashed == 3
    await client.delete("/v1/collections/deleted/documents/a")
    assert (await state.hashes.ready()).hashed == 2
    told = await ask(client, "deleted", png(photograph(NAMES[2])), similar=False)
    assert [match["document_id"] for match in told["matches"]] == ["c"]  # which took the place of a
    await state.index.delete([points["b"]])  # by another process: found by reading again
    state.hashes._read_at = 0.0
    assert (await state.hashes.ready()).hashed == 1


async def test_copies_are_told_by_features_without_opening_an_image(
    client: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upload(client, "featured", photograph("rocket.jpg"), document_id="rocket")
    books = await gateway.service.books("featured")
    point = point_id("featured", "rocket")
    shown = (await client.get("/v1/collections/featured/documents/rocket")).json()
    assert await books.features_of(point, shown["sha256"]) is not None
    assert await books.features_of(point, "of an image that was there before") is None
    monkeypatch.setattr(gateway.service.images, "get", None)  # opening one would fail
    cropped = png(edited(photograph("rocket.jpg"), "cropped"))
    told = await ask(client, "featured", cropped, similar=False)
    assert [(m["document_id"], m["verdict"]) for m in told["matches"]] == [("rocket", "copy")]
    assert told["warnings"] == []
    assert told["hashes"]["featured"] == 1
    assert 20_000 < told["hashes"]["feature_bytes"] < 80_000
    await client.delete("/v1/collections/featured/documents/rocket")
    assert await books.features_of(point, shown["sha256"]) is None


async def search(client: httpx.AsyncClient, pixels: np.ndarray, **asked: object) -> httpx.Response:
    query = {"type": "image", "value": base64.b64encode(png(pixels)).decode()}
    body = {"queries": [query], "mode": "copies", **asked}
    return await client.post("/v1/retrievers/both/search", json=body)


async def test_a_search_for_copies_returns_them_alone_with_their_regions(
    client: httpx.AsyncClient, filled: set[str]
) -> None:
    await fill(client, "hashed", filled)
    await upload(client, "searched", photograph("coffee.png"), document_id="c", metadata='{"n": 1}')
    copy = edited(photograph("coffee.png"), "cropped")
    answer = await search(client, copy, include=["metadata", "collection"])
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert {(r["collection"], r["document_id"], r["verdict"]) for r in results} == {
        ("hashed", "coffee.png", "copy"),
        ("searched", "c", "copy"),
    }
    assert all(len(r["evidence"]["region"]["query"]) == 4 and r["score"] > 0.5 for r in results)
    assert [r["metadata"] for r in results if r["collection"] == "searched"] == [{"n": 1}]
    filtered = await search(client, copy, filters={"n": 1})
    assert [r["document_id"] for r in filtered.json()["results"]] == ["c"]
    nothing = await search(client, photograph("coins.png"), top_k=101)
    assert nothing.json()["results"] == []
    assert nothing.json()["warnings"] == [
        "top_k is 101, and mode copies returns 100 results at most"
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {"group_by": "n"},
        {"rerank": [{"type": "Diversity"}]},
        {"explain": True},
        {"queries": [{"type": "text", "value": "a cup"}]},
        {"include": ["vector"]},
    ],
    ids=lambda asked: next(iter(asked)),
)
async def test_what_means_nothing_in_a_search_for_copies_is_refused(
    client: httpx.AsyncClient, asked: dict[str, object]
) -> None:
    answer = await search(client, photograph("coffee.png"), **asked)
    assert answer.status_code == 422
    assert next(iter(asked)) in answer.text
