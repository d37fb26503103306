"""Batches over HTTP, through the whole service: real model, real index, real images."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.support.configs import collection, retriever, serving_config
from tests.support.pictures import animation, encoded, plain
from tests.support.servers import api_of, client_of

from lookalike_serving.demo.catalogue import render_catalogue

pytestmark = pytest.mark.asyncio(loop_scope="module")

BATCHES = "/v1/collections/shop/batches"
UNKNOWN = "00000000-0000-8000-8000-000000000000"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("catalogue")
    render_catalogue(folder, 8, seed=3, workers=1)
    return [path.read_bytes() for path in sorted((folder / "images").iterdir())]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    folder = tmp_path_factory.mktemp("data")
    config = serving_config(
        folder, collection(folder, "shop"), retrievers=(retriever("search", "shop"),)
    )
    async with client_of(api_of(config)) as client:
        yield client


def base64_items(*images: bytes) -> dict[str, Any]:
    return {"items": [{"image": base64.b64encode(image).decode()} for image in images]}


async def ended(client: httpx.AsyncClient, created: httpx.Response) -> dict[str, Any]:
    assert created.status_code == 202, created.text
    async with asyncio.timeout(60):
        while True:
            batch = (await client.get(created.headers["location"])).json()
            if batch["state"] not in ("QUEUED", "RUNNING"):
                return batch
            await asyncio.sleep(0.02)


async def test_a_batch_of_files_answers_searches_when_it_is_done(client, images):
    rows = [
        {"file": f"{n}.jpg", "document_id": f"file-{n}", "metadata": {"n": n}} for n in range(8)
    ]
    sent = await client.post(
        BATCHES,
        data={"items": json.dumps(rows)},
        files=[("image", (f"{n}.jpg", image)) for n, image in enumerate(images)],
    )
    batch = await ended(client, sent)
    assert batch["state"] == "COMPLETED"
    assert batch["counts"] == {
        "total": 8, "queued": 0, "succeeded": 8, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    query = {"queries": [{"type": "image", "value": base64.b64encode(images[5]).decode()}]}
    found = (await client.post("/v1/retrievers/search/search", json=query)).json()
    assert found["results"][0]["document_id"] == "file-5"
    assert found["results"][0]["metadata"] == {"n": 5}


async def test_an_image_is_hashed_once_however_it_comes_in(client, monkeypatch):
    hashed: Counter[bytes] = Counter()
    sha256 = hashlib.sha256

    def counted(data: bytes = b"", **options: Any) -> Any:
        hashed[bytes(data)] += 1
        return sha256(data, **options)

    monkeypatch.setattr(hashlib, "sha256", counted)
    alone, inline, file = (encoded(plain(colour)) for colour in ("teal", "olive", "navy"))
    uploaded = await client.post(
        "/v1/collections/shop/documents",
        json={"image": base64.b64encode(alone).decode()},
    )
    assert uploaded.status_code == 201
    await ended(client, await client.post(BATCHES, json=base64_items(inline)))
    await ended(client, await client.post(BATCHES, files=[("image", ("a.png", file))]))
    assert [hashed[image] for image in (alone, inline, file)] == [1, 1, 1]


async def test_it_is_taken_at_once_and_says_where_it_stands(client, images):
    sent = await client.post(BATCHES, json=base64_items(images[0]))
    told = sent.json()
    assert sent.headers["location"] == f"/v1/batches/{told['batch_id']}"
    assert (told["collection"], told["state"]) == ("shop", "QUEUED")
    await ended(client, sent)


async def test_rubbish_among_images_is_told_item_by_item(client, images):
    body = base64_items(images[0], b"not an image at all", images[1][:200], b"\x89PNG\r\n\x1a\n")
    body["items"].append({"image": "http://127.0.0.1:9/secret"})
    body["items"].append({"image": "file:///etc/passwd"})
    body["items"].append({"image": "@@@"})
    batch = await ended(client, await client.post(BATCHES, json=body))
    assert batch["state"] == "COMPLETED_WITH_ERRORS"
    assert (batch["counts"]["succeeded"], batch["counts"]["failed"]) == (1, 6)
    failed = await client.get(f"/v1/batches/{batch['batch_id']}/items?state=FAILED&limit=4")
    page = failed.json()
    assert [item["position"] for item in page["items"]] == [1, 2, 3, 4]
    assert all(item["error"]["code"].startswith("image-") for item in page["items"])
    assert all(item["error"]["detail"] for item in page["items"])
    assert page["items"][3]["error"]["code"] == "image-forbidden-address"
    rest = await client.get(
        f"/v1/batches/{batch['batch_id']}/items",
        params={"state": "FAILED", "cursor": page["next_cursor"]},
    )
    assert [item["position"] for item in rest.json()["items"]] == [5, 6]
    assert rest.json()["next_cursor"] is None


async def test_what_decoding_left_out_is_told_item_by_item(client, images):
    sent = await client.post(BATCHES, json=base64_items(images[0], animation()))
    batch = await ended(client, sent)
    page = (await client.get(f"/v1/batches/{batch['batch_id']}/items")).json()
    told = [item["warnings"] for item in page["items"]]
    assert told == [[], ["animated: the first frame is used"]]


async def test_a_key_sent_again_answers_with_the_same_batch(client, images):
    headers = {"Idempotency-Key": "delivery-7"}
    first = await client.post(BATCHES, json=base64_items(images[0]), headers=headers)
    again = await client.post(BATCHES, json=base64_items(images[0]), headers=headers)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json()["batch_id"] == first.json()["batch_id"]
    other = await client.post(BATCHES, json=base64_items(images[1]), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    await ended(client, first)


async def test_batches_are_listed_page_by_page(client, images):
    made = []
    for image in images[:3]:
        made.append((await client.post(BATCHES, json=base64_items(image))).json()["batch_id"])
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, "collection": "shop", **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/v1/batches", params=params)).json()
        seen += [batch["batch_id"] for batch in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(seen) == len(set(seen))
    assert set(made) <= set(seen)


@pytest.mark.parametrize("action", ["", "/items", "/cancel", "/retry"])
@pytest.mark.parametrize("id", [UNKNOWN, "nonsense", "1" * 300])
async def test_an_unknown_batch_is_a_problem_with_a_remedy(client, id, action):
    call = client.post if action in ("/cancel", "/retry") else client.get
    answer = await call(f"/v1/batches/{id}{action}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/collections/nowhere/batches", b'{"items": []}', 404),
        ("POST", BATCHES, b"{", 422),
        ("POST", f"{BATCHES}?on_error=explode", b'{"items": [{"image": "eA=="}]}', 422),
        ("GET", "/v1/batches?cursor=nonsense!", b"", 422),
        ("GET", "/v1/batches?limit=0", b"", 422),
        ("GET", "/v1/batches?state=DONE", b"", 422),
    ],
)
async def test_a_wrong_request_is_a_problem(client, method, path, body, status):
    answer = await client.request(
        method, path, content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_finished_batch_can_neither_be_cancelled_nor_retried(client, images):
    batch = await ended(client, await client.post(BATCHES, json=base64_items(images[0])))
    for action, code in (("cancel", "batch-finished"), ("retry", "nothing-to-retry")):
        answer = await client.post(f"/v1/batches/{batch['batch_id']}/{action}")
        assert (answer.status_code, answer.json()["code"]) == (409, code)


async def test_a_retry_is_taken_and_counted(client):
    batch = await ended(client, await client.post(BATCHES, json=base64_items(b"rubbish")))
    assert (batch["state"], batch["attempt"]) == ("FAILED", 1)
    retried = await client.post(f"/v1/batches/{batch['batch_id']}/retry")
    assert (retried.status_code, retried.json()["attempt"]) == (202, 2)


async def test_the_description_of_the_api_names_all_three_bodies(client):
    paths = (await client.get("/openapi.json")).json()["paths"]
    body = paths["/v1/collections/{collection}/batches"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data", "application/x-ndjson"}
