"""Every way to hand over an image, and what goes over the wire for it."""

from __future__ import annotations

import base64
import io
import re
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scripted_server import Reply, Seen, scripted

from lookalike import AsyncLookalike, Lookalike
from lookalike._images import wire_value


def picture(kind: str = "JPEG", size: tuple[int, int] = (4, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, kind)
    return buffer.getvalue()


def decoded(data_url: str) -> tuple[str, bytes]:
    found = re.fullmatch(r"data:([\w/+-]+);base64,(.*)", data_url)
    assert found is not None
    return found[1], base64.b64decode(found[2])


def parts_of(seen: Seen) -> dict[str, Message]:
    head = f"content-type: {seen.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + seen.body)
    parts: Any = message.get_payload()
    return {str(p.get_param("name", header="content-disposition")): p for p in parts}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_bytes_become_a_data_url_of_their_own_type(kind: str) -> None:
    assert decoded(wire_value(picture(kind))) == (f"image/{kind.lower()}", picture(kind))


def test_a_path_is_read(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(picture())
    assert decoded(wire_value(file))[1] == picture()


def test_a_text_that_names_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.jpg").write_bytes(picture())
    monkeypatch.chdir(tmp_path)
    assert decoded(wire_value("photo.jpg"))[1] == picture()


def test_an_open_file_is_read() -> None:
    assert decoded(wire_value(io.BytesIO(picture())))[1] == picture()


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/a.jpg",
        "HTTP://example.com/a.jpg",
        "data:image/png;base64,AAAA",
        base64.b64encode(picture()).decode(),
        base64.b64encode(picture(size=(400, 400))).decode() * 20,
    ],
)
def test_what_the_server_can_resolve_goes_as_it_is(text: str) -> None:
    assert wire_value(text) == text


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK", "F", "I;16"])
def test_a_pil_image_of_any_mode_becomes_a_png(mode: str) -> None:
    kind, content = decoded(wire_value(Image.new(mode, (5, 4))))
    assert kind == "image/png"
    assert Image.open(io.BytesIO(content)).size == (5, 4)


def test_a_pil_image_is_sent_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, "JPEG", exif=exif)
    _, content = decoded(wire_value(Image.open(buffer)))
    assert Image.open(io.BytesIO(content)).size == (20, 40)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"'no-such\.jpg' is no file here"):
        wire_value("no-such.jpg")


@pytest.mark.parametrize("empty", [b"", io.BytesIO()])
def test_nothing_is_no_image(empty: Any) -> None:
    with pytest.raises(ValueError, match="0 bytes"):
        wire_value(empty)


@pytest.mark.parametrize("value", [7, None, ["a.jpg"], {"image": "a"}])
def test_an_object_that_is_no_image_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is no image"):
        wire_value(value)


def test_a_file_open_as_text_is_refused() -> None:
    with pytest.raises(TypeError, match="mode 'rb'"):
        wire_value(io.StringIO("x"))


def test_image_queries_are_encoded_and_others_stay() -> None:
    with scripted(Reply(body={"results": []})) as server:
        queries = [
            {"type": "image", "value": picture(), "embedding_model": "m", "weight": 2},
            {"type": "text", "value": "photo.jpg"},
            {"type": "vector", "value": (0.5, 1)},
        ]
        Lookalike(server.url).retrievers.search(retriever_id="r", queries=queries)
        image, text, vector = server.seen[0].json["queries"]
    assert decoded(image.pop("value"))[1] == picture()
    assert image == {"type": "image", "embedding_model": "m", "weight": 2}
    assert text == {"type": "text", "value": "photo.jpg"}
    assert vector == {"type": "vector", "value": [0.5, 1]}


def test_the_callers_queries_are_left_as_they_were() -> None:
    queries = [{"type": "image", "value": picture()}]
    with scripted(Reply(body={"results": []})) as server:
        Lookalike(server.url).retrievers.search("r", queries)
    assert queries == [{"type": "image", "value": picture()}]


def test_an_upload_sends_the_bytes_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(picture())
    with scripted(Reply(201, {"document_id": "é/1"})) as server:
        client = Lookalike(server.url)
        client.documents.upload("cat", file, document_id="é/1", metadata={"maker": "Zoë"})
        parts = parts_of(server.seen[0])
    assert parts["image"].get_payload(decode=True) == picture()
    assert parts["image"].get_content_type() == "image/jpeg"
    assert parts["image"].get_filename() == "photo.jpg"
    assert parts["metadata"].get_payload(decode=True) == b'{"maker": "Zo\\u00eb"}'
    assert parts["document_id"].get_payload(decode=True) == "é/1".encode()


def test_an_upload_of_an_address_lets_the_server_fetch_it() -> None:
    with scripted(Reply(201, {"document_id": "1"})) as server:
        Lookalike(server.url).documents.upload("cat", "https://example.com/a.jpg")
        assert server.seen[0].json == {"image": "https://example.com/a.jpg", "metadata": {}}


def test_an_upload_is_repeated_with_the_same_bytes(tmp_path: Path) -> None:
    with scripted(Reply(503), Reply(201, {"document_id": "1"})) as server:
        Lookalike(server.url).documents.upload("cat", io.BytesIO(picture()))
        first, second = (parts_of(seen)["image"].get_payload(decode=True) for seen in server.seen)
    assert first == second == picture()


async def test_the_asyncio_client_encodes_likewise() -> None:
    with scripted(Reply(body={"results": []})) as server:
        async with AsyncLookalike(server.url) as client:
            await client.retrievers.search("r", [{"type": "image", "value": picture()}])
        (image,) = server.seen[0].json["queries"]
    assert decoded(image["value"])[1] == picture()
