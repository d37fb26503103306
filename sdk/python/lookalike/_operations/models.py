"""The embedding models that a server has loaded, and the health of the server."""

from __future__ import annotations

from typing import Any

from lookalike._exchange import Answer, Call, Operation, Request
from lookalike._operations.pages import Pages
from lookalike.errors import ServiceUnavailable
from lookalike.types import Health, Model


def listing() -> Pages[Model]:
    """Every model, with its dimension, device and precision."""
    return Pages("/v1/models", {}, _model)


def health() -> Operation[Health]:
    """Whether the server is alive and ready to answer queries. Asks once, without retries.

    Raises ConnectionFailed if nothing answers.
    """
    live: bool = yield Call(Request("GET", "/healthz"), lambda answer: True, patient=False)
    try:
        ready = yield Call(Request("GET", "/readyz"), _readiness, patient=False)
    except ServiceUnavailable as error:
        return Health(live=live, ready=False, detail=error.detail)
    return Health(
        live=live,
        ready=True,
        read_only=bool(ready.get("read_only")),
        detail=str(ready.get("detail") or ""),
    )


def _readiness(answer: Answer) -> dict[str, Any]:
    told = answer.json()
    return told if isinstance(told, dict) else {}


def _model(item: Any, answer: Answer) -> Model:
    return Model.model_validate(item)
