"""What callers write without looking it up: taken as meant, or told what to write instead."""

from __future__ import annotations

import array
import base64
import datetime
import decimal
import io
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scripted_server import Reply, Seen, scripted

from lookalike import AsyncLookalike, Lookalike

FOUND = {"results": [], "batch_id": "b", "state": "QUEUED", "counts": {"total": 0}}
ANSWER = Reply(body={**FOUND, "document_id": "d"})
WORDS = {"type": "text", "value": "red cup"}

Use = Callable[[Any], Any]


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bytes of photo.jpg, which lies in the current folder."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(buffer, "JPEG")
    (tmp_path / "photo.jpg").write_bytes(buffer.getvalue())
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    return buffer.getvalue()


async def sent(use: Use) -> Seen:
    """The request that a call makes; both clients make the same."""
    with scripted(ANSWER) as server:
        with Lookalike(server.url) as client:
            use(client)
        async with AsyncLookalike(server.url) as asynchronous:
            await use(asynchronous)
        blocking, awaited = server.seen
    assert (awaited.path, awaited.method) == (blocking.path, blocking.method)
    if blocking.headers["content-type"] == "application/json":
        assert awaited.json == blocking.json
    return blocking


async def refusal(use: Use) -> BaseException:
    """The error of a call that sends nothing; both clients raise the same."""
    with scripted(ANSWER) as server:
        with Lookalike(server.url) as client, pytest.raises((TypeError, ValueError, OSError)) as a:
            use(client)
        async with AsyncLookalike(server.url) as asynchronous:
            with pytest.raises((TypeError, ValueError, OSError)) as b:
                await use(asynchronous)
        assert server.seen == []
    assert (type(a.value), str(a.value)) == (type(b.value), str(b.value))
    return a.value


def searching(queries: Any, **options: Any) -> Use:
    return lambda client: client.retrievers.search("find", queries, **options)


def as_image(content: bytes) -> dict[str, str]:
    return {
        "type": "image",
        "value": "data:image/jpeg;base64," + base64.b64encode(content).decode(),
    }


@pytest.mark.parametrize(
    "queries", ["red cup", ["red cup"], WORDS, (WORDS,), iter([WORDS]), {"q": WORDS}.values()]
)
async def test_words_alone_are_a_text_query(queries: Any) -> None:
    once = list(queries) if not isinstance(queries, str | dict) else queries
    assert (await sent(searching(once))).json == {"queries": [WORDS]}


async def test_the_client_itself_searches() -> None:
    seen = await sent(lambda client: client.search("find", "red cup", top_k=3))
    assert seen.path == "/v1/retrievers/find/search"
    assert seen.json == {"queries": [WORDS], "top_k": 3}


@pytest.mark.parametrize(
    "text", ["e.g. red cup", "cup.", "a/b", "red, blue", "v1.0", "3.5", ".jpg"]
)
async def test_words_with_dots_and_slashes_stay_words(text: str, photo: bytes) -> None:
    assert (await sent(searching(text))).json["queries"] == [{"type": "text", "value": text}]


@pytest.mark.parametrize(
    "value",
    [
        "photo.jpg",
        "./photo.jpg",
        Path("photo.jpg"),
        [Path("photo.jpg")],
        {"type": "image", "value": Path("photo.jpg")},
        [{"type": "image", "value": "photo.jpg"}],
    ],
)
async def test_paths_are_image_queries(value: Any, photo: bytes) -> None:
    assert (await sent(searching(value))).json["queries"] == [as_image(photo)]


async def test_bytes_and_pictures_are_image_queries(photo: bytes) -> None:
    assert (await sent(searching(photo))).json["queries"] == [as_image(photo)]
    assert (await sent(searching([bytearray(photo)]))).json["queries"] == [as_image(photo)]
    (query,) = (await sent(searching(Image.new("RGB", (2, 2))))).json["queries"]
    assert query["value"].startswith("data:image/png;base64,")
    with scripted(ANSWER) as server, Lookalike(server.url) as client:
        client.search("find", io.BytesIO(photo))
        assert server.seen[0].json["queries"] == [as_image(photo)]


@pytest.mark.parametrize("address", ["https://example.com/a", "data:image/png;base64,AAAA"])
async def test_addresses_are_image_queries(address: str) -> None:
    assert (await sent(searching(address))).json["queries"] == [{"type": "image", "value": address}]


@pytest.mark.parametrize(
    "vector",
    [
        [0.5, 1.0],
        (0.5, 1),
        np.array([0.5, 1.0]),
        np.array([0.5, 1.0], np.float32),
        np.array([0.5, 1.0], np.float16),
        [np.float32(0.5), np.float32(1)],
        array.array("f", [0.5, 1.0]),
        torch.tensor([0.5, 1.0], requires_grad=True),
    ],
)
async def test_numbers_are_a_vector_query(vector: Any) -> None:
    expected = [{"type": "vector", "value": [0.5, 1.0]}]
    assert (await sent(searching(vector))).json["queries"] == expected
    assert (await sent(searching({"type": "vector", "value": vector}))).json["queries"] == expected
    assert (await sent(searching([vector, "x"]))).json["queries"][0] == expected[0]


async def test_values_of_numpy_and_of_databases_become_json() -> None:
    seen = await sent(
        searching(
            {"type": "text", "value": np.str_("red cup"), "weight": np.float64(0.5)},
            top_k=np.int64(3),
            min_score=np.float32(0.5),
            filters={
                "price": {"lt": decimal.Decimal("9.5")},
                "sold": np.bool_(True),
                "tag": {"in": {"a"}},
                "since": {"gt": datetime.date(2026, 1, 2)},
                "key": {"in": (uuid.UUID(int=1),)},
            },
        )
    )
    assert seen.json == {
        "queries": [{**WORDS, "weight": 0.5}],
        "top_k": 3,
        "min_score": 0.5,
        "filters": {
            "price": {"lt": 9.5},
            "sold": True,
            "tag": {"in": ["a"]},
            "since": {"gt": "2026-01-02"},
            "key": {"in": [str(uuid.UUID(int=1))]},
        },
    }


async def test_one_stage_and_one_member_need_no_list() -> None:
    seen = await sent(searching("red cup", rerank={"type": "Diversity"}, include="metadata"))
    assert seen.json["rerank"] == [{"type": "Diversity"}]
    assert seen.json["include"] == ["metadata"]


async def test_batch_items_may_be_images_alone(photo: bytes) -> None:
    uri = as_image(photo)["value"]
    address = "https://example.com/a.jpg"
    seen = await sent(
        lambda client: client.batches.create(
            "c", ["photo.jpg", Path("photo.jpg"), photo, address, {"image": Path("photo.jpg")}]
        )
    )
    assert [item["image"] for item in seen.json["items"]] == [uri, uri, uri, address, uri]
    for one in (Path("photo.jpg"), "photo.jpg", {"image": "photo.jpg"}):
        seen = await sent(lambda client, one=one: client.batches.create("c", one))
        assert seen.json["items"] == [{"image": uri}]


async def test_metadata_of_a_table_comes_in(photo: bytes) -> None:
    row = {"price": np.float64(9.5), "at": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)}
    written = {"price": 9.5, "at": "2026-01-02T00:00:00+00:00"}
    seen = await sent(lambda client: client.documents.update("c", "d", metadata=row))
    assert seen.json == {"metadata": written}
    item = {"image": "photo.jpg", "metadata": row}
    seen = await sent(lambda client: client.batches.create("c", [item]))
    assert seen.json["items"][0]["metadata"] == written
    upload = lambda client: client.documents.upload("c", "photo.jpg", metadata=row)  # noqa: E731
    assert b'{"price": 9.5, "at": "2026-01-02T00:00:00+00:00"}' in (await sent(upload)).body


CUBE = np.zeros((4, 3, 3), np.uint8)

TOLD: list[tuple[str, Use, str]] = [
    # Queries
    ("none", searching(None), r"queries: None .*\"red cup\""),
    ("number", searching(7), r"queries: 7 .*\"red cup\""),
    ("missing", searching("gone.jpg"), r"queries: 'gone.jpg' is no file here.*\"type\": \"text\""),
    ("missing path", searching(Path("gone.jpg")), r"queries: .*gone\.jpg"),
    ("folder", searching(Path("photos")), r"queries: .*photos.* is a folder"),
    ("second", searching(["x", Path("gone.jpg")]), r"queries\[1\]: .*gone\.jpg"),
    (
        "image value",
        searching([{"type": "image", "value": "gone.jpg"}]),
        r"queries\[0\]\.value: 'gone.jpg' is no file here",
    ),
    ("short form", searching({"text": "x"}), r'queries\[0\].*write \{"type": "text", "value": …\}'),
    ("no type", searching({"value": "x"}), r'queries\[0\].*\{"type": "text", "value": …\}'),
    ("pixels", searching(CUBE), r"queries: .*\(4, 3, 3\).*PIL\.Image\.fromarray"),
    (
        "pixels as value",
        searching({"type": "image", "value": CUBE}),
        r"queries\[0\]\.value: .*PIL\.Image\.fromarray",
    ),
    ("two vectors", searching(np.zeros((2, 8))), r"queries: .*\(2, 8\).*one search a vector"),
    ("one row", searching(np.zeros((1, 8))), r"queries: .*\(1, 8\).*array\[0\]"),
    ("nested", searching([[[0.5]]]), r"queries\[0\]: .*flat"),
    (
        "row as value",
        searching({"type": "vector", "value": [[0.5]]}),
        r"queries\[0\]\.value: .*flat",
    ),
    ("not a number", searching([0.5, float("nan")]), r"queries\[0\]\.value\[1\] is nan"),
    ("infinite", searching("x", min_score=float("inf")), r"min_score is inf"),
    ("strange value", searching("x", filters={"a": object()}), r"filters\.a: .*object"),
    ("text for filters", searching("x", filters="a=b"), r"filters: .*\{\"status\": \"active\"\}"),
    ("text for rerank", searching("x", rerank="Diversity"), r'rerank: .*\{"type": "Diversity"\}'),
    # Names of arguments
    ("limit", searching("x", limit=3), r"search\(\) has no argument 'limit': write top_k"),
    ("k", lambda c: c.search("find", "x", k=3), r"no argument 'k': write top_k"),
    ("filter", searching("x", filter={}), r"no argument 'filter': write filters"),
    ("threshold", searching("x", score_threshold=0.5), r"'score_threshold': write min_score"),
    ("misspelt", searching("x", min_scor=0.5), r"'min_scor': write min_score"),
    ("unknown", searching("x", ef=3), r"'ef': it takes retriever_id, queries, .*explain"),
    ("query", lambda c: c.search("find", query="x"), r"no argument 'query': write queries"),
    (
        "alone",
        lambda c: c.search("red cup"),
        r"search\(\) needs queries: search\(retriever_id, que",
    ),
    ("many", lambda c: c.search("find", "x", {}), r"by name: .*filters=…"),
    ("payload", lambda c: c.documents.update("c", "d", payload={}), r"'payload': write metadata"),
    # Images
    ("list", lambda c: c.documents.upload("c", ["photo.jpg"]), r"image: .*batches\.create"),
    ("dict", lambda c: c.documents.upload("c", {"image": "photo.jpg"}), r"image: .*by itself"),
    ("folder up", lambda c: c.documents.upload("c", "photos"), r"image: .*is a folder"),
    ("array up", lambda c: c.documents.upload("c", CUBE), r"image: .*fromarray"),
    ("gone", lambda c: c.documents.upload("c", Path("gone.jpg")), r"image: .*gone\.jpg"),
    ("item", lambda c: c.batches.create("c", [{"path": "x"}]), r'items\[0\].*\{"image": …'),
    ("item gone", lambda c: c.batches.create("c", ["gone.jpg"]), r"items\[0\]: .*gone\.jpg"),
    ("item 7", lambda c: c.batches.create("c", [7]), r"items\[0\]: "),
    ("item folder", lambda c: c.batches.create("c", Path("photos")), r"items: .*is a folder.*glob"),
    ("items 7", lambda c: c.batches.create("c", 7), r"items: 7"),
    (
        "gap in a table",
        lambda c: c.documents.upload("c", "photo.jpg", metadata={"price": float("nan")}),
        r"metadata\.price is nan.*None",
    ),
    (
        "metadata as text",
        lambda c: c.documents.upload("c", "photo.jpg", metadata="a"),
        r"metadata: .*dict",
    ),
    ("key", lambda c: c.documents.update("c", "d", metadata={1: 2}), r"metadata: the key 1 .*text"),
    # Names
    ("number id", lambda c: c.documents.get("c", 42), r"document_id: 42 is an int.*str\(42\)"),
    (
        "number id up",
        lambda c: c.documents.upload("c", "photo.jpg", document_id=42),
        r"document_id: 42 is an int",
    ),
    (
        "number id in",
        lambda c: c.batches.create("c", [{"image": "photo.jpg", "document_id": 42}]),
        r"items\[0\]\.document_id: 42 is an int",
    ),
    ("none name", lambda c: c.search(None, "x"), r"retriever_id: None"),
]


@pytest.mark.parametrize(("use", "told"), [pytest.param(u, t, id=n) for n, u, t in TOLD])
async def test_what_cannot_be_meant_is_told_with_the_remedy(
    use: Use, told: str, photo: bytes
) -> None:
    error = await refusal(use)
    assert re.search(told, str(error)), str(error)
    assert not (type(error) is TypeError and "NoneType" in str(error))


def test_an_object_in_place_of_its_name_is_told() -> None:
    with scripted(ANSWER) as server, Lookalike(server.url) as client:
        batch = client.batches.get("b")
        with pytest.raises(TypeError, match=r"batch_id: a Batch .*write batch\.batch_id"):
            client.batches.wait(batch)  # type: ignore[arg-type]
        document = client.documents.get("c", "d")
        with pytest.raises(TypeError, match=r"document_id: a Document .*document\.document_id"):
            client.documents.delete("c", document)  # type: ignore[arg-type]


@pytest.mark.parametrize("client", [Lookalike(), AsyncLookalike()])
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("upload", r"documents\.upload"),
        ("upsert", r"documents\.upload"),
        ("add", r"documents\.upload"),
        ("query", r"search\("),
        ("delete", r"documents\.delete"),
        ("collection", r"collections"),
        ("list_collections", r"collections\.list"),
        (
            "nothing_like_it",
            r"retrievers, collections, documents, batches, duplicate_scans, models, search, health",
        ),
    ],
)
def test_methods_of_other_clients_are_pointed_at(client: Any, name: str, remedy: str) -> None:
    with pytest.raises(AttributeError, match=remedy):
        getattr(client, name)
    assert not hasattr(client, name)


@pytest.mark.parametrize("kind", [Lookalike, AsyncLookalike])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "http://x"}, r"no argument 'url': write base_url"),
        ({"host": "x", "port": 8000}, r"no argument 'host': write base_url"),
        ({"token": "x"}, r"no argument 'token': write api_key"),
        ({"base_url": 8000}, r"base_url: 8000 is an int"),
        ({"timeout": "5"}, r"timeout: '5' .*seconds"),
        ({"timeout": -1}, r"timeout: -1 .*seconds"),
        ({"retries": None}, r"retries: None"),
        ({"api_key": b"k"}, r"api_key: b'k' is a bytes"),
        ({"api_key": "clé"}, r"api_key: .*ASCII"),
        ({"api_key": "a\nb"}, r"api_key: .*line"),
    ],
)
def test_settings_that_cannot_be_are_told(kind: Any, options: Any, told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        kind(**options)


def test_a_key_read_from_a_file_may_end_its_line() -> None:
    with scripted(ANSWER) as server, Lookalike(server.url, "secret\n") as client:
        client.search("find", "x")
        assert server.seen[0].headers["authorization"] == "Bearer secret"


def test_no_timeout_waits_without_end() -> None:
    with scripted(ANSWER) as server, Lookalike(server.url, timeout=None) as client:
        client.search("find", "x")
    assert os.environ.get("LOOKALIKE_URL") is None
