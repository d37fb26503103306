"""Any text is a document's id for every way in and every address, or for none."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lookalike._operations import paths
from lookalike_serving.documents.ids import BadDocumentId, checked

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENTS = "/v1/collections/catalogue/documents"
TRICKY = (
    "./%?#&+ \t\n\x00\x7f\x85\xa0\u00e9e\u0301\u200d\u202e\u202f\u2028\u3000\u212b\ufeff\U0001f600"
)
TEXTS = st.text(st.sampled_from(TRICKY) | st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS)
@example(".")
@example("..")
@example("a/../b")
@example("a/image")
@example("%2e%2e")
@example("x" * 513)
@example("Screenshot 10.15\u202fPM.png")
@example("cafe\u0301 \u3000.png")
@example("a\u200db")
async def test_an_id_is_refused_everywhere_or_addressed_everywhere(
    client: httpx.AsyncClient, picture: Callable[..., bytes], text: str
) -> None:
    try:
        kept = checked(text)
    except BadDocumentId:
        kept = None
    image = picture("red")
    uploads = [
        await client.post(
            DOCUMENTS, json={"image": base64.b64encode(image).decode(), "document_id": text}
        ),
        await client.post(
            DOCUMENTS, files={"image": image, "document_id": (None, text.encode(), "text/plain")}
        ),
    ]
    batch = await client.post(
        "/v1/collections/catalogue/batches",
        json={"items": [{"image": "https://127.0.0.1:9/none.jpg", "document_id": text}]},
    )
    search = await client.post(
        "/v1/retrievers/shop/search", json={"queries": [{"type": "document", "value": text}]}
    )
    if kept is None:
        assert [answer.status_code for answer in (*uploads, batch, search)] == [422] * 4
        assert "document_id" in uploads[0].json()["detail"]
        if text not in ("", ".", ".."):
            assert (await client.get(f"{DOCUMENTS}/{quote(text, safe='')}")).status_code == 422
        return
    assert [answer.status_code for answer in uploads] == [201, 200]
    assert (batch.status_code, search.status_code) == (202, 200)
    for spelling in {text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))}:
        address = paths.document("catalogue", spelling)
        assert (await client.get(address)).json()["document_id"] == kept
        assert (await client.get(f"{address}/image")).content == image
        assert (await client.get(f"{address}/thumbnail")).status_code == 200
    changed = await client.patch(address, json={"metadata": {"status": "seen"}})
    assert changed.json()["metadata"] == {"status": "seen"}
    assert (await client.delete(address)).status_code == 204
    assert (await client.get(address)).status_code == 404


async def test_half_of_a_surrogate_pair_is_refused_as_an_id(client: httpx.AsyncClient) -> None:
    body = json.dumps({"image": "aGVsbG8=", "document_id": "a\ud800"}).encode()
    headers = {"content-type": "application/json"}
    answer = await client.post(DOCUMENTS, content=body, headers=headers)
    assert answer.status_code == 422


async def test_a_byte_order_mark_before_a_json_body_is_not_part_of_it(
    client: httpx.AsyncClient,
) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"queries": [{"type": "text", "value": "red"}]}).encode()
    headers = {"content-type": "application/json"}
    answer = await client.post("/v1/retrievers/shop/search", content=body, headers=headers)
    assert answer.status_code == 200
