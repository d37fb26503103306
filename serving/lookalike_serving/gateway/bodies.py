"""Request bodies: JSON and multipart, parsed and checked.

JSON goes through pydantic-core in one step, from bytes to the model. This bounds nesting, refuses
invalid UTF-8 and lone surrogates, and is faster than parsing first and validating afterwards. Every
error becomes `path: what is wrong, what to write`; unknown keys are reported with the nearest known
key.
"""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from lookalike_crds.explain import real_location
from lookalike_crds.failures import BAD_MULTIPART, UNSUPPORTED_MEDIA_TYPE
from lookalike_serving.problems import Problem, Wrong, invalid, wrong

MAX_PARTS = 64
REQUEST_PART = "request"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Multipart:
    """A multipart body, read."""

    fields: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict)
    """By part name, in the order they came; a second `image` is `image-2`."""


def is_multipart(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def read_json(request: Request, model: type[M]) -> M:
    """The body as a model. Raises Problem 415 or 422."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    # A page of anybody may send a body without a type, or as text, but none that says it is JSON.
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        told = f"The body is {kind[:100]!r}" if kind else "The body has no Content-Type"
        detail = f"{told}: send it with Content-Type: application/json."
        raise Problem(UNSUPPORTED_MEDIA_TYPE, detail)
    return parse(model, await request.body())


def parse(model: type[M], body: bytes | str, path: str = "") -> M:
    """A JSON text as a model. Raises Problem 422 that lists every wrong part."""
    text = without_mark(body)
    if not text:
        raise wrong(path, "the body is empty: send a JSON object")
    try:
        return model.model_validate_json(text)
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
        raise invalid(wrong_parts(errors, _decoded(text), model, path)) from None


def _decoded(text: bytes | str) -> Any:
    """The parsed text, to see which paths it contains; None if it is not JSON."""
    try:
        return from_json(text)
    except ValueError:
        return None


def without_mark(text: bytes | str) -> bytes | str:
    """A text without the byte order mark that some editors put before it (RFC 8259, 8.1)."""
    if isinstance(text, bytes):
        return text.removeprefix(codecs.BOM_UTF8)
    return text.removeprefix("\ufeff")


def parse_object(text: str | bytes, path: str) -> dict[str, Any]:
    """A JSON text that is an object. Raises Problem 422."""
    try:
        value = from_json(without_mark(text), allow_inf_nan=False)
    except ValueError as failure:
        raise wrong(path, f"is not JSON: {failure}") from None
    if not isinstance(value, dict):
        raise wrong(path, f'is not a JSON object such as {{"status": "active"}}, but {value!r:.60}')
    return value


async def read_multipart(request: Request) -> Multipart:
    """All parts. Raises Problem 400 for a body that is not what its header says."""
    limit = 2 * request.app.state.service.config.fetch.max_bytes
    try:
        form = await request.form(max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=limit)
    except HTTPException as failure:
        detail = f"The multipart body cannot be read: {failure.detail}"
        raise Problem(BAD_MULTIPART, detail) from None
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    try:
        for name, part in form.multi_items():
            if isinstance(part, UploadFile):
                files[_free_name(name, files)] = await part.read()
            else:
                fields[name] = part
    finally:
        await form.close()
    if REQUEST_PART in files and REQUEST_PART not in fields:
        fields[REQUEST_PART] = _text(files.pop(REQUEST_PART), REQUEST_PART)
    return Multipart(fields, files)


def _free_name(name: str, taken: Mapping[str, bytes]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate


def _text(content: bytes, part: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise wrong(part, "is not UTF-8 text") from None


def wrong_parts(
    errors: Sequence[Mapping[str, Any]],
    document: Any,
    model: type[BaseModel] | None = None,
    path: str = "",
) -> list[Wrong]:
    """Pydantic's errors about a document, in our words."""
    return [Wrong(_path(error, document, path), _message(error, model)) for error in errors[:50]]


def _path(error: Mapping[str, Any], document: Any, prefix: str) -> str:
    """`("queries", 0, "value", "str")` as `queries[0].value`: union branches are not places."""
    path = prefix
    for step in real_location(error["loc"], document, missing=error["type"] == "missing"):
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step[:100]}" if path else step[:100]
    return path


def _message(error: Mapping[str, Any], model: type[BaseModel] | None) -> str:
    kind = error["type"]
    name = str(error["loc"][-1])[:60] if error["loc"] else ""
    if kind == "extra_forbidden":
        known = _known_keys(model) if model is not None else ()
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        return f"{name!r} is not a known key: {hint}"
    if kind == "json_invalid":
        return f"is not JSON: {error['ctx']['error']}"
    if kind == "missing":
        return "is missing"
    given = error.get("input")
    shown = "" if isinstance(given, dict | list) or given is None else f", not {given!r:.60}"
    text = str(error["msg"])
    return f"{text[0].lower()}{text[1:]}{shown}"


@cache
def _known_keys(model: type[BaseModel]) -> tuple[str, ...]:
    """Every key that any part of a model has."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return tuple(dict.fromkeys(key for part in parts for key in part.get("properties", {})))
