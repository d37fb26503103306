"""Request bodies as a stream of items, in bounded memory: JSON, NDJSON, multipart.

    application/json      {"items": [ITEM, …], "on_error"?}, up to 64 MiB
    application/x-ndjson  one ITEM a line, up to 4 GiB
    multipart/form-data   image files, and optionally a part `items` (JSON list or NDJSON) whose
                          ITEMs name them; up to 4 GiB

    ITEM                  {"image": URL | data URL | base64, "document_id"?, "metadata"?,
                           "on_duplicate"?}; in multipart also {"file": "a.jpg", …}

NDJSON and multipart bodies are never held in memory as a whole: a file part goes to `stage` when it
has ended, a line is an item when its newline has come.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request

from lookalike_crds.failures import BAD_MULTIPART, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, by_code
from lookalike_serving.batches.record import MAX_ITEMS, OnError
from lookalike_serving.batches.schemas import MAX_REFERENCE, SubmittedItem
from lookalike_serving.batches.submission import Reading, Stage, Staged, Submission, too_many
from lookalike_serving.gateway.bodies import without_mark, wrong_parts
from lookalike_serving.problems import Problem, Wrong, wrong

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_STREAM_BYTES = 4 * 1024**3
_MAX_ROWS_BYTES = 64 * 1024 * 1024
_MAX_LINE_BYTES = MAX_REFERENCE + 256 * 1024
_ITEM = TypeAdapter(SubmittedItem)


def read(request: Request, stage: Stage, max_image_bytes: int) -> Reading:
    """The items of the request. Raises Problem 400, 413, 415 or 422, mostly while iterating."""
    kind, boundary = _content_type(request.headers.get("content-type", ""))
    reading = Reading(items=_nothing())
    match kind:
        case "application/json":
            reading.items = _json_items(request, reading)
        case "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines":
            reading.items = _lines(request)
        case "multipart/form-data" if boundary:
            reading.items = _parts(request, boundary, stage, max_image_bytes)
        case _:
            raise Problem(
                UNSUPPORTED_MEDIA_TYPE,
                f"The body is {kind!r}: send application/json, application/x-ndjson or "
                "multipart/form-data with a boundary.",
            )
    return reading


async def _nothing() -> AsyncIterator[Submission]:
    return
    yield


async def _json_items(request: Request, reading: Reading) -> AsyncIterator[Submission]:
    body = await _collect(_bounded(request, MAX_JSON_BYTES))
    document = _parsed(body, "")
    if not isinstance(document, dict):
        raise wrong("", 'is not a JSON object: send {"items": [{"image": "https://…"}, …]}')
    items = document.pop("items", None)
    if not isinstance(items, list):
        raise wrong(
            "items", 'is missing or not a list: send {"items": [{"image": "https://…"}, …]}'
        )
    reading.on_error = parse_on_error(document.pop("on_error", None))
    if document:
        raise wrong(next(iter(document))[:100], "is not a known key: known are items, on_error")
    for position, value in enumerate(items):
        yield _submission(value, f"items[{position}]")


async def _lines(request: Request) -> AsyncIterator[Submission]:
    rest, number = bytearray(), 0
    async for chunk in _bounded(request, MAX_STREAM_BYTES):
        rest += chunk
        if b"\n" in chunk:
            *lines, tail = rest.split(b"\n")
            rest = bytearray(tail)
            for line in lines:
                number += 1
                if line.strip():
                    yield _line(bytes(line), f"line {number}")
        if len(rest) > _MAX_LINE_BYTES:
            raise wrong(f"line {number + 1}", f"is longer than {_MAX_LINE_BYTES:,} bytes")
    if rest.strip():
        yield _line(bytes(rest), f"line {number + 1}")


def _line(line: bytes, path: str) -> Submission:
    try:
        value = from_json(without_mark(line), allow_inf_nan=False)
    except ValueError as failure:
        return Submission(path, None, errors=(Wrong(path, f"is not JSON: {failure}"),))
    return _submission(value, path)


def _submission(value: Any, path: str) -> Submission:
    try:
        return Submission(path, _ITEM.validate_python(value))
    except ValidationError as failure:
        errors = wrong_parts(failure.errors(include_url=False), value, SubmittedItem, path)
        return Submission(path, None, errors=tuple(errors))


def parse_on_error(value: Any) -> OnError | None:
    """Raises Problem 422."""
    try:
        return None if value is None else OnError(value)
    except ValueError:
        raise wrong("on_error", f"{value!r:.60} is not possible: write continue or stop") from None


@dataclass(slots=True)
class _Part:
    name: str = ""
    filename: str | None = None
    content: bytearray = field(default_factory=bytearray)
    size: int = 0


async def _parts(
    request: Request, boundary: str, stage: Stage, max_image_bytes: int
) -> AsyncIterator[Submission]:
    splitter = _Splitter(boundary, max_image_bytes)
    files: dict[str, Staged | Problem] = {}
    rows: list[Any] | None = None
    count = 0
    async for chunk in _bounded(request, MAX_STREAM_BYTES):
        for part in splitter.feed(chunk):
            if part.name == "items":
                rows = _rows(bytes(part.content))
                continue
            if part.filename is None:
                raise wrong(
                    part.name[:100],
                    "is neither `items` nor a file: send images as file parts, and on_error as "
                    "a query parameter",
                )
            if (count := count + 1) > MAX_ITEMS:
                raise too_many()
            name = part.filename or f"file {count}"
            if name in files:
                raise wrong(name[:100], "is the filename of two parts: give each its own")
            if part.size > max_image_bytes:
                files[name] = too_large_image(part.size, max_image_bytes)
            else:
                files[name] = await stage(count, bytes(part.content))
    splitter.finish()
    if rows is None:
        for name, found in files.items():
            yield _with_file(name, SubmittedItem(file=name[:1024] or "file"), found)
        return
    async for submission in _joined(rows, files):
        yield submission


async def _joined(rows: list[Any], files: dict[str, Staged | Problem]) -> AsyncIterator[Submission]:
    unnamed = set(files)
    for position, row in enumerate(rows):
        submission = _submission(row, f"items[{position}]")
        name = submission.item.file if submission.item is not None else None
        if submission.item is None or name is None:
            yield submission
        elif name in files:
            unnamed.discard(name)
            yield _with_file(submission.path, submission.item, files[name])
        else:
            message = f"{name!r:.80} is not the filename of any part of this request"
            error = Wrong(f"{submission.path}.file", message)
            yield Submission(submission.path, None, errors=(error,))
    for name in sorted(unnamed):
        error = Wrong(
            name[:100], "is a file that no row of `items` names: add a row, or omit the file"
        )
        yield Submission(name, None, errors=(error,))


def _with_file(path: str, item: SubmittedItem, found: Staged | Problem) -> Submission:
    if isinstance(found, Problem):
        return Submission(path, None, errors=(Wrong(path[:100], found.detail),))
    return Submission(path, item, staged=found)


def _rows(content: bytes) -> list[Any]:
    """The part `items`: a JSON list, or one JSON object a line."""
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.lstrip()[:1] == b"[":
        rows = _parsed(content, "items")
        if not isinstance(rows, list):
            raise wrong("items", "is not a list")
        return rows
    return [
        _parsed(line, f"items line {number}")
        for number, line in enumerate(content.split(b"\n"), 1)
        if line.strip()
    ]


class _Splitter:
    """A multipart body, piece by piece, into whole parts."""

    def __init__(self, boundary: str, max_image_bytes: int) -> None:
        self._max_image_bytes = max_image_bytes
        self._part = _Part()
        self._done: list[_Part] = []
        self._header = (bytearray(), bytearray())
        self._ended = False
        self._parser = MultipartParser(
            boundary.encode("latin-1", "replace"),
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, a, b: self._header[0].extend(data[a:b]),
                "on_header_value": lambda data, a, b: self._header[1].extend(data[a:b]),
                "on_header_end": self._header_end,
                "on_part_data": self._data,
                "on_part_end": lambda: self._done.append(self._part),
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> list[_Part]:
        """The parts that end within `chunk`."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as failure:
            raise _bad_multipart(str(failure)) from None
        done, self._done = self._done, []
        return done

    def finish(self) -> None:
        if not self._ended:
            raise _bad_multipart("it ends before its closing boundary")

    def _begin(self) -> None:
        self._part = _Part()

    def _header_end(self) -> None:
        name, value = (bytes(text).decode("utf-8", "replace") for text in self._header)
        self._header = (bytearray(), bytearray())
        if name.lower() == "content-disposition":
            options = _options(value)
            self._part.name = options.get("name", "")
            self._part.filename = options.get("filename")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.size += end - start
        if part.name == "items" and part.size > _MAX_ROWS_BYTES:
            raise wrong("items", f"is larger than {_MAX_ROWS_BYTES:,} bytes: send several batches")
        if part.filename is None and part.name != "items" and part.size > 1024:
            raise wrong(part.name[:100], "is neither `items` nor a file: omit it")
        if part.name == "items" or part.size <= self._max_image_bytes:
            part.content += data[start:end]
        else:
            part.content.clear()

    def _end(self) -> None:
        self._ended = True


async def _bounded(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The chunks of the body. Raises Problem 413 once they exceed `limit` or announce that they
    will."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > limit:
            raise _too_large(limit)
        yield chunk


async def _collect(chunks: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
    return bytes(body)


def _parsed(body: bytes, path: str) -> Any:
    try:
        return from_json(without_mark(body), allow_inf_nan=False)
    except ValueError as failure:
        raise wrong(path, f"is not JSON: {failure}") from None


def _content_type(header: str) -> tuple[str, str]:
    message = Message()
    message["content-type"] = header
    boundary = message.get_param("boundary", "")
    return message.get_content_type(), boundary if isinstance(boundary, str) else ""


def _options(disposition: str) -> dict[str, str]:
    message = Message()
    message["content-disposition"] = disposition
    found = message.get_params(header="content-disposition") or []
    return {key.lower(): value for key, value in found[1:]}


def too_large_image(size: int, limit: int) -> Problem:
    return Problem(
        by_code("image-too-large"), f"has {size:,} bytes: an image may have at most {limit:,}"
    )


def _too_large(limit: int) -> Problem:
    return Problem(
        BODY_TOO_LARGE,
        f"The body is larger than {limit:,} bytes: send the images as NDJSON or multipart (up to "
        f"{MAX_STREAM_BYTES:,} bytes), or send several batches.",
        headers={"Connection": "close"},
    )


def _bad_multipart(reason: str) -> Problem:
    return Problem(BAD_MULTIPART, f"The multipart body cannot be read: {reason}.")
