"""Collections: their names and their number of documents."""

from __future__ import annotations

from typing import Any

from lookalike._exchange import Answer, Call, Operation, Request, call
from lookalike._operations import paths
from lookalike._operations.pages import Pages
from lookalike.types import Collection


def get(collection: str) -> Operation[Collection]:
    """One collection, with the number of its documents. Raises NotFound."""
    request = Request("GET", paths.collection(collection))
    return (yield from call(Call(request, lambda answer: _collection(answer.json(), answer))))


def listing() -> Pages[Collection]:
    """Every collection of the server."""
    return Pages("/v1/collections", {}, _collection)


def _collection(item: Any, answer: Answer) -> Collection:
    return Collection.model_validate(item)
