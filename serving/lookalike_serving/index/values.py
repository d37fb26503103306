"""What may be stored in an index: ids, vectors and payloads, checked before any engine sees them.

Engines disagree about invalid values – Qdrant Edge stores NaN vectors and turns bytes into lists,
gRPC refuses integers that JSON allows – so the strictest rules of all of them are checked here,
once. Everything below raises IndexRefused, which names the value and what to do.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

from lookalike_crds import payload_indexes
from lookalike_serving.index.protocol import IndexRefused, Vector

MAX_DEPTH = 32
"""Nesting of payloads: engines recurse over them, some until the stack ends."""
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def checked_id(id: str) -> str:
    """The canonical form of a point id, a UUID."""
    try:
        return str(uuid.UUID(id))
    except (ValueError, AttributeError, TypeError):
        raise IndexRefused(
            f"{id!r} is not a point id: pass a UUID (documents.point_id makes one of a document id)"
        ) from None


def checked_path(key: str) -> str:
    """A metadata key in the engines' JSON-path syntax."""
    try:
        return payload_indexes.json_path(key)
    except ValueError as error:
        raise IndexRefused(str(error)) from None


def checked_vector(vector: Vector | None, dimension: int | None, what: str) -> list[float]:
    """`vector` as a list of `dimension` finite numbers; `what` names it in errors."""
    if dimension is None:
        raise IndexRefused(f"{what}: this index holds payloads only, no vectors")
    if vector is None:
        raise IndexRefused(f"{what} has no vector: embed the document before writing it")
    floats = np.asarray(vector, dtype=np.float32)
    if floats.shape != (dimension,):
        raise IndexRefused(
            f"{what} has shape {floats.shape}, and the index ({dimension},): embed with the "
            "collection's own model"
        )
    values: list[float] = floats.tolist()
    # In Python's 64 bits the sum of finite float32s never overflows, so it tells; and summing a
    # list that was just made is quicker than NumPy's several passes and their calls.
    if not math.isfinite(sum(values)):
        raise IndexRefused(f"{what} holds NaN or infinity: check the model's output")
    return values


def checked_payload(payload: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`payload` as plain JSON values; tuples become lists. Never alters a value silently."""
    if not isinstance(payload, Mapping):
        raise IndexRefused(f"{what}: the payload is {type(payload).__name__}, it must be a mapping")
    return _mapping(payload, what, "payload", 0)


def _mapping(value: Mapping[Any, Any], what: str, path: str, depth: int) -> dict[str, Any]:
    result = {}
    for key, item in value.items():
        if type(key) is not str:
            raise IndexRefused(f"{what}: key {key!r} in {path} is not text: quote it")
        result[_text(key, what, path)] = _json(item, what, f"{path}.{key}", depth + 1)
    return result


def _json(value: Any, what: str, path: str, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value, what, path)
    if isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise IndexRefused(
                f"{what}: {path} = {value} does not fit 64 signed bits: store it as text"
            )
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise IndexRefused(f"{what}: {path} is {value}, which JSON does not have: omit the key")
        return float(value)
    if depth >= MAX_DEPTH:
        raise IndexRefused(f"{what}: {path} is nested deeper than {MAX_DEPTH} levels: flatten it")
    if isinstance(value, list | tuple):
        return [_json(item, what, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return _mapping(value, what, path, depth)
    raise IndexRefused(
        f"{what}: {path} is {type(value).__name__}, not a JSON value: convert it to text or numbers"
    )


def _text(value: str, what: str, path: str) -> str:
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise IndexRefused(
            f"{what}: {path} holds half of a surrogate pair, not valid Unicode: re-encode the text"
        ) from None
    return value
