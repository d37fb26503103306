"""Checks arguments before they are used: an error names the argument and the remedy.

People bring the habits of other clients: `limit` for `top_k`, an array for a vector, an object for
its name. Without these checks, such arguments end in a TypeError from deep inside, or in an answer
of the server about JSON that the caller never wrote.
"""

from __future__ import annotations

import datetime
import difflib
import enum
import functools
import inspect
import math
import os
import uuid
from collections.abc import Callable, Mapping, Set
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar

from lookalike.types import Answered

P = ParamSpec("P")
T = TypeVar("T")

_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "top_k": ("limit", "k", "n", "n_results", "num_results", "size", "top", "topk", "count"),
    "limit": ("page_size", "per_page", "batch_size", "size", "top_k", "n"),
    "queries": (
        "query",
        "text",
        "texts",
        "image",
        "images",
        "vector",
        "vectors",
        "embedding",
        "embeddings",
        "data",
        "query_text",
        "query_texts",
        "query_vector",
        "query_embeddings",
        "words",
        "q",
    ),
    "filters": ("filter", "where", "query_filter", "expr", "conditions"),
    "min_score": ("score_threshold", "threshold", "min_similarity", "certainty"),
    "include": ("with_payload", "with_vectors", "output_fields", "fields", "select"),
    "group_by": ("group", "groupby"),
    "rerank": ("reranker", "rerankers", "stages"),
    "retriever_id": ("retriever", "collection", "collection_name", "index", "index_name", "name"),
    "collection": ("collection_name", "collection_id", "index", "index_name", "name"),
    "document_id": ("id", "doc_id", "point_id", "key"),
    "batch_id": ("id", "batch"),
    "metadata": ("payload", "meta", "metadatas", "attributes", "properties", "fields"),
    "image": ("file", "path", "picture", "photo", "url", "uri", "data"),
    "items": ("images", "documents", "points", "files", "paths"),
    "base_url": ("url", "host", "port", "address", "endpoint", "location", "server"),
    "api_key": ("key", "token", "auth", "apikey"),
    "retries": ("max_retries", "retry"),
    "poll_seconds": ("poll_interval", "interval"),
}
"""Names of arguments in other clients -> the names here."""


def fitting(called: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates public methods, so that unknown arguments are reported with the remedy."""

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except TypeError:
                signature = inspect.signature(function)
                wrong = _misfit(called, signature, args, kwargs)
                if wrong is None:
                    raise
                raise wrong from None

        return call

    return decorated


def _misfit(
    called: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> TypeError | None:
    """What is wrong with the arguments of a call, or None if the signature takes them."""
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        pass
    else:
        return None
    parameters = {name: p for name, p in signature.parameters.items() if name != "self"}
    args = args[len(signature.parameters) - len(parameters) :]
    for name in kwargs:
        if name not in parameters:
            meant = _meant(name, [each for each in parameters if each not in kwargs])
            remedy = f"write {meant}" if meant else f"it takes {', '.join(parameters)}"
            return TypeError(f"{called}() has no argument {name!r}: {remedy}")
    positional = [
        p.name for p in parameters.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    if len(args) > len(positional):
        named = ", ".join(f"{name}=…" for name in parameters if name not in positional)
        return TypeError(
            f"{called}() takes {', '.join(positional)} by position, and the others by name: {named}"
        )
    usage = f"{called}({', '.join(positional)})"
    given = {*positional[: len(args)], *kwargs}
    twice = [name for name in positional[: len(args)] if name in kwargs]
    if twice:
        return TypeError(f"{called}() was given {twice[0]} twice: {usage}")
    missing = [
        p.name
        for p in parameters.values()
        if p.default is inspect.Parameter.empty and p.name not in given
    ]
    return TypeError(f"{called}() needs {' and '.join(missing)}: {usage}")


def _meant(name: str, candidates: list[str]) -> str | None:
    for candidate in candidates:
        if name.lower() in _OTHER_NAMES.get(candidate, ()):
            return candidate
    return next(iter(difflib.get_close_matches(name, candidates, n=1)), None)


def text(value: Any, what: str) -> str:
    """A name, an id or a key. Raises TypeError if it is anything else than text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Answered):
        name = what if hasattr(value, what) else "name"
        kind = type(value).__name__
        raise TypeError(f"{what}: a {kind} is given: write {kind.lower()}.{name}")
    if value is None:
        raise TypeError(f"{what}: None is given: write a text")
    if isinstance(value, int | uuid.UUID | os.PathLike):
        raise TypeError(f"{what}: {value!r} is {_a(value)}: write text, such as str({value!r})")
    raise TypeError(f"{what}: {shown(value)} is {_a(value)}: write text")


def mapping(value: Any, what: str, example: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise TypeError(f"{what}: {shown(value)} is {_a(value)}: write a dict, such as {example}")


def plain(value: Any, where: str) -> Any:
    """The value as JSON has it, including NumPy numbers and arrays, dates, sets, decimals and
    UUIDs.

    Raises TypeError or ValueError that name the place, such as `metadata.price`, if JSON has no
    such value.
    """
    if value is None or type(value) in (str, bool, int):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, where)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"{where} is {float(value)}, which JSON does not have: leave it out, or give None"
            )
        return float(value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {_key(key, where): plain(v, _below(where, key)) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, f"{where}[{place}]") for place, each in enumerate(value)]
    if isinstance(value, Set):
        return [plain(each, where) for each in value]
    if value != value:  # pandas.NaT
        raise ValueError(f"{where} is {value}: leave it out, or give None")
    if isinstance(value, datetime.date):  # datetime, too
        return value.isoformat()
    if type(value).__name__ == "datetime64":
        return str(value)
    if isinstance(value, Decimal):
        return plain(float(value), where)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if (convert := as_list(value)) is not None:
        return plain(convert(), where)
    raise TypeError(
        f"{where}: {shown(value)} is {_a(value)}, which JSON does not have: write text, a number, "
        "True, False, None, a list or a dict"
    )


def as_list(value: Any) -> Callable[[], Any] | None:
    """`tolist` of an array, a tensor or a scalar of NumPy, PyTorch, pandas or `array`."""
    convert = getattr(value, "tolist", None)
    return convert if callable(convert) else None


def shown(value: Any) -> str:
    """A value for a message, cut short."""
    told = " ".join(repr(value).split())
    return told if len(told) <= 80 else told[:77] + "..."


def _a(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return key
    raise TypeError(f"{where}: the key {key!r} is {_a(key)}: keys are text")


def _below(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)
