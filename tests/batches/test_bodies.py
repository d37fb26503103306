"""Request bodies become items, or are refused as a whole; nothing of a refused one stays."""

from __future__ import annotations

import json

import pytest
from desk import MAX_IMAGE_BYTES, inline, items, request, until
from hypothesis import given
from hypothesis import strategies as st

from lookalike_serving.batches.record import BatchState, OnError
from lookalike_serving.batches.submission import Staged
from lookalike_serving.gateway import batch_bodies
from lookalike_serving.problems import Problem

NDJSON = "application/x-ndjson"


def multipart(*parts: tuple[str, str | None, bytes], boundary: str = "cut") -> tuple[bytes, str]:
    """(body, content type) of (name, filename, content) parts."""
    body = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"'
        if filename is not None:
            disposition += f'; filename="{filename}"'
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        body += content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


async def refusal(desk, sent) -> Problem:
    """The problem a request is refused with, after which nothing may be left."""
    with pytest.raises(Problem) as refused:
        await desk.send(sent)
    assert await desk.index.count() == 0

    async def no_bytes():
        return desk.staging.batches() == []

    await until(no_bytes)
    return refused.value


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


WRONG_REQUESTS = [
    (b"", ""),
    (b"{", ""),
    (b"\xff\xfe", ""),
    (b"[]", ""),
    (as_json({}), "items"),
    (as_json({"items": {}}), "items"),
    (as_json({"items": []}), "items"),
    (as_json({"items": ["https://shop.example/a.jpg"]}), "items[0]"),
    (as_json({"items": [{"document_id": "a"}]}), "items[0]"),
    (as_json({"items": [{"image": "x", "file": "a.jpg"}]}), "items[0]"),
    (as_json({"items": [{"file": "a.jpg"}]}), "items[0].file"),
    (as_json({"items": [{"image": 7}]}), "items[0].image"),
    (as_json({"items": [{"image": "x", "metdata": {}}]}), "items[0].metdata"),
    (
        as_json({"items": [{"image": "x", "metadata": {"price": "cheap"}}]}),
        "items[0].metadata.price",
    ),
    (
        as_json({"items": [{"image": "x", "metadata": {"_lookalike": 1}}]}),
        "items[0].metadata._lookalike",
    ),
    (as_json({"items": [{"image": "x", "document_id": ""}]}), "items[0].document_id"),
    (as_json({"items": [{"image": "x", "document_id": "a\nb"}]}), "items[0].document_id"),
    (as_json({"items": items(b"a"), "on_error": "explode"}), "on_error"),
    (as_json({"items": items(b"a"), "priority": 1}), "priority"),
]


async def test_a_wrong_request_is_refused_where_it_is_wrong(desk):
    for body, path in WRONG_REQUESTS:
        problem = await refusal(desk, request(body))
        assert (problem.status, problem.errors[0].path) == (422, path), body


async def test_every_fault_is_told_at_once(desk):
    body = as_json({"items": [{"image": "x", "a": 1}, items(b"fine")[0], {"b": 1}, {}]})
    problem = await refusal(desk, request(body))
    assert {w.path.partition(".")[0] for w in problem.errors} == {
        "items[0]",
        "items[2]",
        "items[3]",
    }


async def test_one_id_twice_is_refused(desk):
    problem = await refusal(desk, request(as_json({"items": items(b"a") + items(b"b")})))
    assert problem.errors[0].path == "items[1].document_id"
    assert "occurs more than once" in problem.detail


async def test_more_items_than_a_batch_may_have_are_refused(desk, monkeypatch):
    monkeypatch.setattr("lookalike_serving.batches.intake.MAX_ITEMS", 300)
    problem = await refusal(desk, request(as_json({"items": items(*(b"x",) * 301)})))
    assert "send several batches" in problem.detail


async def test_a_body_beyond_its_limit_is_refused_while_it_is_read(desk, monkeypatch):
    monkeypatch.setattr(batch_bodies, "MAX_STREAM_BYTES", 50_000)
    lines = b"".join(as_json({"image": inline(b"x" * 400)}) + b"\n" for _ in range(1000))
    problem = await refusal(desk, request(lines, NDJSON, piece=4096))
    assert problem.status == 413


async def test_another_media_type_is_refused(desk):
    assert (await refusal(desk, request(b"image", "image/png"))).status == 415


async def test_lines_are_items(desk, shelf):
    lines = b"\n\n".join(as_json(item) for item in items(b"one", b"two", b"three")) + b"\n"
    batch, _ = await desk.send(request(lines, NDJSON, piece=7))
    assert (await desk.end(batch)).state is BatchState.COMPLETED
    assert shelf.images == {"d0": b"one", "d1": b"two", "d2": b"three"}


async def test_a_wrong_line_is_told_by_its_number(desk):
    lines = as_json(items(b"one")[0]) + b'\n{"image": \n'
    assert (await refusal(desk, request(lines, NDJSON))).errors[0].path == "line 2"


@given(piece=st.integers(1, 400))
async def test_files_arrive_whole_however_the_body_is_cut(piece):
    contents = {"a.png": b"one\r\n--cu", "b.png": bytes(range(256)), "c.png": b"\r\n--cut\r\nno"}
    body, kind = multipart(
        *(("image", name, data) for name, data in contents.items()), boundary="cutcut"
    )
    kept: dict[int, bytes] = {}

    async def stage(number: int, image: bytes) -> Staged:
        kept[number] = image
        return Staged(f"staged:{number}", "00")

    found = batch_bodies.read(request(body, kind, piece), stage, MAX_IMAGE_BYTES)
    read = [submission async for submission in found.items]
    assert [s.item.file for s in read if s.item] == list(contents)
    assert list(kept.values()) == list(contents.values())


async def test_files_alone_are_items_without_metadata(desk, shelf):
    body, kind = multipart(("image", "a.png", b"one"), ("image", "b.png", b"two"))
    await desk.end((await desk.send(request(body, kind)))[0])
    assert sorted(shelf.images.values()) == [b"one", b"two"]


@pytest.mark.parametrize(("form", "place"), [("list", 2), ("lines", 0)])
async def test_rows_name_files_wherever_they_stand(desk, shelf, form, place):
    rows = [
        {"file": "b.png", "document_id": "second", "metadata": {"price": 2}},
        {"file": "a.png", "document_id": "first"},
    ]
    content = as_json(rows) if form == "list" else b"\n".join(as_json(row) for row in rows)
    parts = [("image", "a.png", b"one"), ("image", "b.png", b"two")]
    parts.insert(place, ("items", None, content))
    body, kind = multipart(*parts)
    batch, _ = await desk.send(request(body, kind))
    await desk.end(batch)
    assert shelf.images == {"first": b"one", "second": b"two"}
    assert (await desk.store.items(batch.order.id, 0, 1))[0].metadata == {"price": 2}


WRONG_FORMS = [
    ([("image", "a.png", b"1"), ("image", "a.png", b"2")], "filename of two parts"),
    ([("items", None, b'[{"file": "x.png"}]'), ("image", "a.png", b"1")], "not the filename"),
    ([("items", None, b"[]"), ("image", "a.png", b"1")], "no row of `items` names"),
    ([("items", None, b"{"), ("image", "a.png", b"1")], "is not JSON"),
    ([("note", None, b"hello"), ("image", "a.png", b"1")], "neither `items` nor a file"),
    ([("image", "a.png", b"x" * (MAX_IMAGE_BYTES + 1))], "an image may have"),
    ([], "is empty"),
]


async def test_a_wrong_form_is_refused_with_the_reason(desk):
    for parts, told in WRONG_FORMS:
        problem = await refusal(desk, request(*multipart(*parts)))
        assert any(told in wrong.message for wrong in problem.errors), told


async def test_a_form_that_breaks_off_leaves_nothing(desk):
    body, kind = multipart(("image", "a.png", b"one"), ("image", "b.png", b"two"))
    assert (await refusal(desk, request(body[:-20], kind))).status == 400


async def test_the_address_says_on_error_where_the_body_cannot(desk):
    batch, _ = await desk.send(request(as_json(items(b"one")[0]), NDJSON), on_error=OnError.STOP)
    assert batch.order.on_error is OnError.STOP


async def test_an_image_twice_without_ids_is_two_documents(desk, shelf):
    body = as_json({"items": [{"image": inline(b"same")}, {"image": inline(b"same")}]})
    await desk.end((await desk.send(request(body)))[0])
    assert len(shelf.stored) == 2


@pytest.mark.parametrize("kind", ["application/json", NDJSON])
async def test_a_byte_order_mark_before_a_body_is_not_part_of_it(desk, shelf, kind):
    body = as_json(items(b"one")[0] if kind == NDJSON else {"items": items(b"one")})
    batch, _ = await desk.send(request(b"\xef\xbb\xbf" + body, kind))
    await desk.end(batch)
    assert shelf.images == {"d0": b"one"}
