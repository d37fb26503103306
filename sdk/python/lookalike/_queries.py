"""Converts what a caller searches for into the list of queries of the API.

A text is words, unless it is an address or has the suffix of an image file; numbers are a vector;
everything else that can be an image is one. To override this, write the query out: `{"type":
"text", "value": "photo.jpg"}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from lookalike._arguments import as_list, shown
from lookalike._images import ADDRESS, is_image, pixels, wire_value

_TYPES = ("text", "image", "vector", "document")
_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .heic .heif .avif .jxl".split()
)
_EXAMPLES = '"red cup", Path("photo.jpg"), a list of numbers, or [{"type": "text", "value": …}]'


def wire_queries(queries: Any) -> list[dict[str, Any]]:
    """Raises TypeError, ValueError or OSError that name the query that cannot be."""
    if isinstance(queries, Mapping):
        return [_written(queries, "queries[0]")]
    if (query := _alone(queries, "queries")) is not None:
        return [query]
    if not isinstance(queries, Iterable):
        raise TypeError(f"queries: {shown(queries)} is nothing to search for: give {_EXAMPLES}")
    return [_one(each, f"queries[{place}]") for place, each in enumerate(queries)]


def _one(query: Any, where: str) -> dict[str, Any]:
    if isinstance(query, Mapping):
        return _written(query, where)
    if (alone := _alone(query, where)) is not None:
        return alone
    if isinstance(query, list | tuple):
        raise TypeError(f"{where}: a vector is a flat list of numbers, not {shown(query)}")
    raise TypeError(f"{where}: {shown(query)} is nothing to search for: give {_EXAMPLES}")


def _alone(query: Any, where: str) -> dict[str, Any] | None:
    """The query that a value without a type means; None for anything else, such as a list."""
    if isinstance(query, str):
        if ADDRESS.match(query):
            return {"type": "image", "value": query}
        if Path(query).suffix.lower() not in _SUFFIXES:
            return {"type": "text", "value": query}
        try:
            return {"type": "image", "value": wire_value(query, where)}
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error}. If these are words to look for, write {{"type": "text", "value": …}}'
            ) from None
    if is_image(query):
        return {"type": "image", "value": wire_value(query, where)}
    if isinstance(query, list | tuple):
        return {"type": "vector", "value": query} if _numbers(query) else None
    if as_list(query) is not None:
        return {"type": "vector", "value": _vector(query, where)}
    return None


def _written(query: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A query as a dict, with its value as the wire takes it."""
    if "type" not in query:
        kind = next((each for each in _TYPES if each in query), "text")
        raise ValueError(f'{where} has no type: write {{"type": "{kind}", "value": …}}')
    written = dict(query)
    if "value" not in written:
        return written  # the server says so, with whatever else is wrong
    if written["type"] == "image":
        written["value"] = wire_value(written["value"], f"{where}.value")
    elif written["type"] == "vector":
        written["value"] = _vector(written["value"], f"{where}.value")
    return written


def _vector(value: Any, where: str) -> Any:
    if (told := pixels(value)) is not None:
        raise TypeError(f"{where}: {told}")
    shape = tuple(getattr(value, "shape", ()))
    if len(shape) > 1:
        remedy = "write array[0]" if shape[0] == 1 else "make one search a vector"
        raise ValueError(
            f"{where}: a vector is flat, and this array has the shape {shape}: {remedy}"
        )
    numbers = value if (convert := as_list(value)) is None else convert()
    if isinstance(numbers, list | tuple) and not _numbers(numbers) and numbers:
        raise TypeError(f"{where}: a vector is a flat list of numbers, not {shown(value)}")
    return numbers


def _numbers(values: list[Any] | tuple[Any, ...]) -> bool:
    return bool(values) and all(isinstance(v, Real) and not isinstance(v, bool) for v in values)
