"""The outermost layer: the id of a request, one log line and one measurement per request.

It is plain ASGI, since Starlette's function middleware costs a task per request. An exception that
nothing else has answered becomes a 500 here.
"""

from __future__ import annotations

import json
import logging
import re
import time
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike_serving.gateway import errors
from lookalike_serving.gateway.context import assign_request_id, note_arrival
from lookalike_serving.machine.haproxy import DRAINING

log = logging.getLogger("lookalike.requests")

_NAMES_DOCUMENT = re.compile(rb"([^?]*?/(?:documents|deletions)/)(.*)", re.DOTALL)
_NOT_BEGUN = errors.CALLER_LEFT
"""What is logged if no answer began."""
_PROBES = {"/healthz", "/readyz", "/metrics"}
"""Asked every few seconds by machines, which act on the answers: not logged."""
_METHODS = {"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"}


class Observation:
    """ASGI middleware: `X-Request-ID`, log line, metrics."""

    def __init__(self, app: ASGIApp, echo_request_id: bool = True) -> None:
        self._app = app
        self._echo = echo_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = assign_request_id(scope)
        state = scope["app"].state
        metrics, traffic, path = state.metrics, state.traffic, scope["path"]
        started = note_arrival(scope)
        status = _NOT_BEGUN
        visit = traffic.enter(scope)

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                visit.received()
                status = message["status"]
                if traffic.draining:
                    # A connection that is kept would outlive the server, and its next request with
                    # it. The ingress of `local` closes its client's by the second.
                    message["headers"] = [
                        *message.get("headers", ()),
                        (b"connection", b"close"),
                        (DRAINING.encode(), b"1"),
                    ]
                if self._echo:
                    message["headers"] = [
                        *message.get("headers", ()),
                        (b"x-request-id", request_id.encode()),
                    ]
            await send(message)

        try:
            await self._app(scope, visit.watch(receive), observed)
        except Exception as failure:
            if status != _NOT_BEGUN:
                raise
            # Here, not in Starlette's outermost handler, which raises again what it has answered.
            response = await errors.handle(Request(scope, receive), failure)
            await response(scope, receive, observed)
        finally:
            visit.leave()
            ended = time.perf_counter()
            route = _route(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            # Not from its first byte: a sender who is slow must not look like a server that is.
            metrics.requests.labels(route, method, str(status)).observe(ended - visit.since)
            if path not in _PROBES:
                _log(scope, request_id, route, status, ended - started)


def _route(scope: Scope) -> str:
    """The route's template, so that a metric has few values."""
    route = scope.get("route")
    return getattr(route, "path", "unmatched") if route is not None else "unmatched"


def _log(scope: Scope, request_id: str, route: str, status: int, seconds: float) -> None:
    level = logging.INFO if status < 500 else logging.ERROR
    if not log.isEnabledFor(level):
        return
    line = {
        "event": "request",
        "request_id": request_id,
        "method": scope["method"],
        "route": route,
        "path": scope["path"][:300],
        "status": status,
        "ms": round(seconds * 1000, 2),
    }
    log.log(level, json.dumps(line, ensure_ascii=False))


class EscapedDocumentIds:
    """ASGI middleware: a document id's escaped slashes stay part of the id.

    Servers decode the path before it is routed, and `a%2Fimage` becomes `a/image`: another
    document's image. Below `/documents/` and `/deletions/` the route therefore sees the path as it
    was sent, still escaped, and `document_id_of` decodes it once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw = scope.get("raw_path") or quote(scope["path"]).encode()
            raw = raw.split(b"?", 1)[0]
            if found := _NAMES_DOCUMENT.match(raw):
                path = unquote_to_bytes(found[1]).decode("utf-8", "replace")
                scope["path"] = path + found[2].decode("ascii", "replace")
        await self._app(scope, receive, send)
