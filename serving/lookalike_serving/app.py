"""The Ray Serve application: one deployment whose replicas do everything in their process.

`RAY_SERVE_ENVIRONMENT` must be in the environment before Ray Serve is imported, on every node: it
is the difference between 5 ms and half a millisecond a request (docs/adr/0001). Under it
user code shares the event loop with Serve's, so nothing in the gateway may block.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from fastapi import FastAPI
from ray import serve

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import Engine
from lookalike_crds.ray_environment import RAY_SERVE_ENVIRONMENT
from lookalike_serving.gateway.api import create_api
from lookalike_serving.service import Service

__all__ = ["RAY_SERVE_ENVIRONMENT", "Retriever", "build_app"]

_MAX_ONGOING_REQUESTS = 1024
"""Above what the gateway's own limit lets through, so that callers get its 429, not a queue."""


@serve.ingress()
class Retriever:
    """A replica: the gateway's app around one `Service`."""

    def __init__(self, config: str) -> None:
        _log_as_json()
        self._config = ServingConfig.model_validate_json(config)
        self._api: FastAPI | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        self._api = create_api(lambda: Service.start(self._config), echo_request_id=False)
        return self._api

    def check_health(self) -> None:
        """Alive means: the event loop turns and the service was started. See also /readyz."""
        if self._api is None or not hasattr(self._api.state, "service"):
            raise RuntimeError("the service has not started")


def build_app(config: ServingConfig) -> serve.Application:
    """The application for `serve.run`. An Edge index has one writer, so it gets one replica."""
    options: dict[str, Any] = {
        "max_ongoing_requests": _MAX_ONGOING_REQUESTS,
        "health_check_period_s": 10,
        "health_check_timeout_s": 30,
        "graceful_shutdown_wait_loop_s": 1,
        "graceful_shutdown_timeout_s": 20,
    }
    if any(collection.index.engine is Engine.EDGE for collection in config.collections):
        options["num_replicas"] = 1
    deployment = serve.deployment(Retriever).options(name="Retriever", **options)
    return deployment.bind(config.model_dump_json())


class _JsonLines(logging.Formatter):
    """One JSON object a line; messages that are JSON already, as the gateway's, are kept."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        fields: dict[str, Any] = {"time": self.formatTime(record), "level": record.levelname}
        if message.startswith("{"):
            return json.dumps(fields)[:-1] + ", " + message[1:]
        fields |= {"logger": record.name, "message": message}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger("lookalike")
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False
