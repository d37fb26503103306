"""What a person has said: these two are not duplicates."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from lookalike._exchange import Call, Operation, Request, call
from lookalike._operations import paths
from lookalike._operations.pages import Pages
from lookalike.types import Dismissal


def dismiss(
    collection: str, *documents: str, content_hash: str | None = None
) -> Operation[Dismissal]:
    """Say that two documents are not duplicates; or that one document is no copy of a picture.

    content_hash: of the picture, from `duplicates`. It holds until the image of a document changes.

    Raises NotFound if a document is not there.
    """
    body: dict[str, Any] = {"documents": list(documents)}
    if content_hash is not None:
        body["content_hash"] = content_hash
    request = Request("POST", _dismissals(collection), json=body)
    return (yield from call(Call(request, lambda answer: Dismissal.model_validate(answer.json()))))


def listing(collection: str) -> Pages[Dismissal]:
    """Everything that was dismissed."""
    return Pages(_dismissals(collection), {}, lambda item, _: Dismissal.model_validate(item))


def lift(collection: str, *documents: str, content_hash: str | None = None) -> Operation[None]:
    """Take back what was said with `dismiss`. Raises NotFound."""
    named = [("document", each) for each in documents]
    if content_hash is not None:
        named.append(("content_hash", content_hash))
    request = Request("DELETE", f"{_dismissals(collection)}?{urlencode(named)}")
    return (yield from call(Call(request, lambda answer: None, done_already=404)))


def _dismissals(collection: str) -> str:
    return f"{paths.collection(collection)}/duplicates/dismissals"
