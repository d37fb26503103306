"""Batches: many images in one request, which the server stores in the background."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from lookalike._arguments import plain, shown, text
from lookalike._exchange import Answer, Call, Operation, Pause, Request, call
from lookalike._images import is_image, wire_value
from lookalike._operations import paths
from lookalike._operations.pages import Pages
from lookalike.types import Batch, BatchInputs, BatchItem

_ITEM = '{"image": …, "document_id": …, "metadata": {…}}'

_FIRST_POLL_SECONDS = 0.2
_POLL_GROWTH = 1.5


def create(
    collection: str,
    items: BatchInputs,
    *,
    on_error: Literal["continue", "stop"] = "continue",
    idempotency_key: str | None = None,
) -> Operation[Batch]:
    """Send many images at once. Returns at once; `wait` waits for the end.

    items: `{"image": …, "document_id": …, "metadata": {…}}`, or the image alone: a URL, a path,
        bytes, an open binary file or a PIL image. One needs no list around it.
    on_error: "stop" ends the batch at the first item that fails.
    idempotency_key: sending the same key again returns the batch that it created. By default a
        key is generated, so that a request that is repeated after a broken connection creates one
        batch.
    """
    body = plain({"items": _items(items), "on_error": on_error}, "")
    request = Request(
        "POST",
        f"{paths.collection(collection)}/batches",
        json=body,
        headers={"idempotency-key": idempotency_key or str(uuid.uuid4())},
    )
    return (yield from call(Call(request, _batch)))


def get(batch_id: str) -> Operation[Batch]:
    """The state of a batch: counts, rate, remaining time. Raises NotFound."""
    return (yield from call(Call(Request("GET", paths.batch(batch_id)), _batch)))


def wait(
    batch_id: str, *, timeout: float | None = None, poll_seconds: float = 2.0
) -> Operation[Batch]:
    """Wait until a batch has ended, however it ended; see `state` and `counts` of the result.

    timeout: seconds; raises TimeoutError (the batch continues). None waits without limit.
    poll_seconds: the longest pause between two requests; the first pauses are shorter.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = min(_FIRST_POLL_SECONDS, poll_seconds)
    while True:
        batch = yield from get(batch_id)
        if not batch.state.active:
            return batch
        if deadline is not None and time.monotonic() + pause > deadline:
            raise TimeoutError(f"batch {batch_id} is still {batch.state} after {timeout:g} s")
        yield Pause(pause)
        pause = min(poll_seconds, pause * _POLL_GROWTH)


def cancel(batch_id: str) -> Operation[Batch]:
    """Cancel a batch. What is stored stays; items that were not tried yet are never stored.

    Raises InvalidRequest (409) for a batch that has ended.
    """
    request = Request("POST", f"{paths.batch(batch_id)}/cancel")
    return (yield from call(Call(request, _batch)))


def retry(batch_id: str) -> Operation[Batch]:
    """Try the failed items of a finished batch again."""
    request = Request("POST", f"{paths.batch(batch_id)}/retry")
    return (yield from call(Call(request, _batch, repeatable=False)))


def items(batch_id: str, *, state: str | None = None, limit: int | None = None) -> Pages[BatchItem]:
    """The items of a batch with their outcomes, page by page. `state`: only items with this
    state."""
    params = {"state": state} if state is not None else {}
    if limit is not None:
        params["limit"] = str(limit)
    return Pages(f"{paths.batch(batch_id)}/items", params, _listed_item)


def listing(*, collection: str | None = None, limit: int | None = None) -> Pages[Batch]:
    """Batches, the newest first. `collection`: only batches of this collection."""
    params = {"collection": collection} if collection is not None else {}
    if limit is not None:
        params["limit"] = str(limit)
    return Pages("/v1/batches", params, lambda item, answer: Batch.model_validate(item))


def _items(items: Any) -> list[dict[str, Any]]:
    if isinstance(items, Mapping):
        return [_item(items, "items[0]")]
    if isinstance(items, str) or is_image(items):
        return [{"image": wire_value(items, "items")}]
    if not isinstance(items, Iterable):
        raise TypeError(f"items: {shown(items)} is no list of images or of {_ITEM}")
    return [_item(each, f"items[{place}]") for place, each in enumerate(items)]


def _item(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        return {"image": wire_value(item, where)}
    if "image" not in item:
        raise ValueError(f"{where} has no image: write {_ITEM}")
    written = {**item, "image": wire_value(item["image"], f"{where}.image")}
    if written.get("document_id") is not None:
        written["document_id"] = text(written["document_id"], f"{where}.document_id")
    return written


def _batch(answer: Answer) -> Batch:
    return Batch.model_validate(answer.json())


def _listed_item(item: Any, answer: Answer) -> BatchItem:
    return BatchItem.model_validate(item)
