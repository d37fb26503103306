"""Records as payloads of the index, and back."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from lookalike_serving.batches.record import (
    Batch,
    BatchState,
    Cause,
    Control,
    Item,
    ItemState,
    OnError,
    Order,
    Progress,
)

Payload = dict[str, Any]


def encode(record: Order | Control | Progress | Item) -> Payload:
    """The fields of a record as JSON; None and empty tuples are left out."""
    return {
        f.name: _plain(value)
        for f in fields(record)
        if (value := getattr(record, f.name)) not in (None, ())
    }


def decode_batch(payload: Payload) -> Batch:
    order, progress = dict(payload["order"]), dict(payload["progress"])
    order["on_error"] = OnError(order["on_error"])
    order["created_at"] = datetime.fromisoformat(order["created_at"])
    progress["state"] = BatchState(progress["state"])
    for name in ("started_at", "finished_at", "heartbeat"):
        if name in progress:
            progress[name] = datetime.fromisoformat(progress[name])
    if "failure" in progress:
        progress["failure"] = Cause(**progress["failure"])
    return Batch(Order(**order), Control(**payload["control"]), Progress(**progress))


def decode_item(payload: Payload) -> Item:
    values = {**payload, "outcome": ItemState(payload["outcome"])}
    if "error" in values:
        values["error"] = Cause(**values["error"])
    values["warnings"] = tuple(values.get("warnings", ()))
    return Item(**values)


def _plain(value: Any) -> Any:
    match value:
        case StrEnum():
            return value.value
        case datetime():
            return value.isoformat()
        case Cause():
            return {"code": value.code, "detail": value.detail}
        case tuple():
            return list(value)
        case _:
            return value
