"""Documents: upload, read, change, delete, list; images and thumbnails."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image
from tests.support.pictures import animation

pytestmark = pytest.mark.asyncio(loop_scope="module")

Picture = Callable[..., bytes]
DOCUMENTS = "/v1/collections/catalogue/documents"


async def upload(
    client: httpx.AsyncClient, document_id: str | None, image: bytes, **metadata: Any
) -> httpx.Response:
    data = {"metadata": json.dumps(metadata)}
    if document_id is not None:
        data["document_id"] = document_id
    return await client.post(DOCUMENTS, data=data, files={"image": ("any.name", image)})


async def test_an_upload_is_created_then_replaced(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    first = await upload(client, "mug", picture("red"), status="active", price=9)
    assert (first.status_code, first.headers["location"]) == (201, f"{DOCUMENTS}/mug")
    second = await upload(client, "mug", picture("blue"), status="sold")
    assert second.status_code == 200
    read = (await client.get(f"{DOCUMENTS}/mug")).json()
    assert read == second.json()
    assert read["metadata"] == {"status": "sold"}
    assert read["created_at"] == first.json()["created_at"]
    assert read["updated_at"] >= read["created_at"]
    assert read["sha256"] != first.json()["sha256"]


async def test_with_if_none_match_a_document_that_is_there_stays_as_it_is(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    only_new = {"If-None-Match": "*"}
    files = {"image": picture("rgb(1,22,3)")}
    first = await client.post(DOCUMENTS, files=files, headers=only_new)
    assert first.status_code == 201
    path = first.headers["location"]
    await client.patch(path, json={"metadata": {"status": "mine"}})
    again = await client.post(DOCUMENTS, files=files, headers=only_new)
    assert (again.status_code, again.json()["code"]) == (412, "already-there")
    assert (await client.get(path)).json()["metadata"] == {"status": "mine"}
    await client.delete(path)
    both = [client.post(DOCUMENTS, files=files, headers=only_new) for _ in range(2)]
    assert sorted(a.status_code for a in await asyncio.gather(*both)) == [201, 412]
    assert (await client.post(DOCUMENTS, files=files)).status_code == 200


def kept(folder: Path) -> int:
    """Uploaded images and thumbnails on the disk."""
    found = [*folder.glob("images/*/*"), *folder.glob("thumbnails/*/*/*")]
    return len([path for path in found if path.is_file()])


async def test_replaced_and_deleted_images_are_removed_from_the_disk(
    client: httpx.AsyncClient, picture: Picture, folder: Path
) -> None:
    before = kept(folder)
    for number in range(12):
        await upload(client, "vase", picture(f"rgb(9,{number},77)"))
        assert (await client.get(f"{DOCUMENTS}/vase/thumbnail")).status_code == 200
        assert kept(folder) == before + 2  # the image that is shown, and its thumbnail
    await upload(client, "vase-too", picture("rgb(9,11,77)"))
    assert (await client.delete(f"{DOCUMENTS}/vase")).status_code == 204
    assert kept(folder) == before + 2
    shown = await client.get(f"{DOCUMENTS}/vase-too/image")
    assert shown.content == picture("rgb(9,11,77)")
    assert (await client.delete(f"{DOCUMENTS}/vase-too")).status_code == 204
    assert kept(folder) == before


async def test_an_image_that_two_collections_share_stays_for_the_other(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    image = picture("rgb(1,200,3)")
    encoded = base64.b64encode(image).decode()
    body = {"image": encoded, "document_id": "shared"}
    other = "/v1/collections/archive/documents"
    for address in (DOCUMENTS, other):
        assert (await client.post(address, json=body)).status_code == 201
    await client.delete(f"{DOCUMENTS}/shared")
    assert (await client.get(f"{other}/shared/image")).content == image
    await client.delete(f"{other}/shared")


async def test_where_images_go_with_their_pod_the_answer_says_so(
    gateway: Any, client: httpx.AsyncClient, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "warnings" not in (await upload(client, "lamp", picture("red"))).json()
    config = gateway.service.config.model_copy(update={"keeps_uploads": False})
    monkeypatch.setattr(gateway.service, "config", config)
    [warning] = (await upload(client, "lamp", picture("red"))).json()["warnings"]
    assert "spec.serving.storage" in warning


async def test_json_uploads_take_base64_and_data_urls(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    encoded = base64.b64encode(picture("green", format="PNG")).decode()
    answers = [
        await client.post(DOCUMENTS, json={"image": image, "document_id": "from-json"})
        for image in (encoded, f"data:image/png;base64,{encoded}")
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    told = answers[0].json()
    assert (told["format"], told["width"], told["height"]) == ("PNG", 96, 96)


async def test_without_an_id_equal_bytes_are_one_document(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    once, again = [await upload(client, None, picture("purple")) for _ in range(2)]
    assert (once.status_code, again.status_code) == (201, 200)
    assert once.json()["document_id"] == again.json()["document_id"]


async def test_a_request_part_holds_id_and_metadata(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    request = json.dumps({"document_id": "from-part", "metadata": {"price": 3}})
    answer = await client.post(
        DOCUMENTS,
        files={
            "request": (None, request, "application/json"),
            "image": ("a.jpg", picture("red")),
        },
    )
    assert answer.status_code == 201
    assert answer.json()["metadata"] == {"price": 3.0}


@pytest.mark.parametrize(
    "document_id",
    [
        "shoes/1.jpg",
        "shoes/image",
        "a b+c%2F?#&",
        "Größe 42 – 鞋",
        "/abs/../path",
        "x" * 512,
        "'\"",
    ],
)
async def test_an_id_may_hold_any_printable_characters(
    client: httpx.AsyncClient, document_id: str, picture: Picture
) -> None:
    stored = await upload(client, document_id, picture("red"))
    assert stored.status_code == 201
    address = f"{DOCUMENTS}/{quote(document_id, safe='')}"
    assert stored.headers["location"] == address
    assert (await client.get(address)).json()["document_id"] == document_id
    image = await client.get(stored.json()["image_url"])
    assert (image.status_code, image.headers["content-type"]) == (200, "image/jpeg")
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404


async def test_an_unescaped_slash_is_understood(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    await upload(client, "folder/mug.jpg", picture("red"))
    assert (await client.get(f"{DOCUMENTS}/folder/mug.jpg")).status_code == 200
    thumbnail = await client.get(f"{DOCUMENTS}/folder/mug.jpg/thumbnail?size=32")
    assert thumbnail.status_code == 200


@pytest.mark.parametrize("document_id", ["", "x" * 513, "line\nbreak", "..", "."])
async def test_an_id_that_cannot_be_an_address_is_refused(
    client: httpx.AsyncClient, document_id: str, picture: Picture
) -> None:
    encoded = base64.b64encode(picture("red")).decode()
    answer = await client.post(DOCUMENTS, json={"image": encoded, "document_id": document_id})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "document_id")


async def test_the_image_comes_back_byte_for_byte(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    content = picture("orange", format="WEBP")
    stored = (await upload(client, "bytes", content)).json()
    image = await client.get(stored["image_url"])
    assert image.content == content
    assert image.headers["content-type"] == "image/webp"
    assert image.headers["x-content-type-options"] == "nosniff"


async def test_a_caller_who_has_the_image_gets_304(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    stored = (await upload(client, "cached", picture("orange"))).json()
    tag = (await client.get(stored["image_url"])).headers["etag"]
    again = await client.get(stored["image_url"], headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_thumbnail_is_scaled_down(client: httpx.AsyncClient, picture: Picture) -> None:
    stored = (await upload(client, "large", picture("orange", side=600))).json()
    thumbnail = await client.get(stored["thumbnail_url"], params={"size": 128})
    assert thumbnail.headers["content-type"] == "image/webp"
    assert max(Image.open(io.BytesIO(thumbnail.content)).size) == 128
    refused = await client.get(stored["thumbnail_url"], params={"size": 5000})
    assert refused.status_code == 422


async def test_a_patch_sets_and_removes_keys_and_keeps_the_rest(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    await upload(client, "patched", picture("red"), status="active", price=9, note="old")
    answer = await client.patch(
        f"{DOCUMENTS}/patched", json={"metadata": {"status": "sold", "note": None, "new": [1]}}
    )
    assert answer.status_code == 200
    expected = {"status": "sold", "price": 9.0, "new": [1]}
    assert answer.json()["metadata"] == expected
    assert (await client.get(f"{DOCUMENTS}/patched")).json()["metadata"] == expected


async def test_concurrent_patches_are_all_kept(client: httpx.AsyncClient, picture: Picture) -> None:
    await upload(client, "contended", picture("red"), doomed=1)
    answers = await asyncio.gather(
        *[
            client.patch(
                f"{DOCUMENTS}/contended",
                json={"metadata": {f"key{i}": i, **({"doomed": None} if i % 2 else {})}},
            )
            for i in range(20)
        ]
    )
    assert {answer.status_code for answer in answers} == {200}
    read = (await client.get(f"{DOCUMENTS}/contended")).json()["metadata"]
    assert read == {f"key{i}": i for i in range(20)}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_a_document_that_is_not_there_is_404(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, f"{DOCUMENTS}/nowhere", json={"metadata": {}})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no document 'nowhere' in collection 'catalogue'."


async def test_metadata_of_the_wrong_type_is_refused_with_every_key(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    answer = await upload(client, "typed", picture("red"), status=5, price="9")
    assert answer.status_code == 422
    assert [e["path"] for e in answer.json()["errors"]] == ["metadata.status", "metadata.price"]
    assert (await client.get(f"{DOCUMENTS}/typed")).status_code == 404


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "image-empty"),
        (b"<html>not an image</html>", "image-not-an-image"),
        (b"x" * 200_000, "image-not-an-image"),
    ],
)
async def test_bytes_that_are_no_image_are_refused(
    client: httpx.AsyncClient, content: bytes, code: str
) -> None:
    answer = await upload(client, "broken", content)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert (await client.get(f"{DOCUMENTS}/broken")).status_code == 404


async def test_an_image_over_the_limit_is_413(client: httpx.AsyncClient) -> None:
    answer = await upload(client, "heavy", b"x" * (1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "image-too-large")


async def test_lists_page_through_every_document_once(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    archive = "/v1/collections/archive/documents"
    for i in range(7):
        encoded = base64.b64encode(picture(f"rgb({i * 30},0,0)")).decode()
        body = {"image": encoded, "document_id": str(i), "metadata": {"price": i}}
        assert (await client.post(archive, json=body)).status_code == 201
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(archive, params=params)).json()
        seen += [item["document_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == [str(i) for i in range(7)]
    cheap = await client.get(archive, params={"filters": '{"price": {"lt": 3}}'})
    assert sorted(item["document_id"] for item in cheap.json()["items"]) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"cursor": "rubbish!"}, "cursor"),
        ({"filters": "{not json"}, "filters"),
        ({"filters": "[1]"}, "filters"),
        ({"filters": '{"price": {"gt": "x"}}'}, "filters.price.gt"),
        ({"limit": "0"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"include": "everything"}, "include"),
    ],
)
async def test_wrong_list_parameters_are_named(
    client: httpx.AsyncClient, params: dict[str, str], path: str
) -> None:
    answer = await client.get(DOCUMENTS, params=params)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, path)


async def test_the_stored_vector_is_told_when_asked_for(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    await upload(client, "vectored", picture("red"))
    told = (await client.get(f"{DOCUMENTS}/vectored", params={"include": "vector"})).json()
    assert sum(x * x for x in told["vector"]) == pytest.approx(1, abs=1e-3)
    assert "vector" not in (await client.get(f"{DOCUMENTS}/vectored")).json()


@pytest.mark.parametrize(
    ("files", "data", "path"),
    [
        ([], {"metadata": "{}"}, "image"),
        ([("image", b"a"), ("other", b"b")], {}, "image"),
        ([("image", b"a")], {"metadata": "[]"}, "metadata"),
        ([("image", b"a")], {"tags": "x"}, "tags"),
        ([("image", b"a")], {"request": '{"topk": 1}'}, "request.topk"),
    ],
)
async def test_a_form_that_is_no_upload_is_refused(
    client: httpx.AsyncClient, files: list[tuple[str, bytes]], data: dict[str, str], path: str
) -> None:
    parts = [(k, (None, v)) for k, v in data.items()] + [(k, (k, v)) for k, v in files]
    answer = await client.post(DOCUMENTS, files=parts)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, path)


async def test_what_decoding_leaves_out_is_told_by_the_upload(client: httpx.AsyncClient) -> None:
    answer = await upload(client, "moving", animation())
    assert answer.json()["warnings"] == ["animated: the first frame is used"]
