"""What belongs to one request: its id, and the service that answers it.

Both are kept in the ASGI scope, so that every layer from the outermost middleware to a route sees
the same.
"""

from __future__ import annotations

import re
import time
import uuid

from starlette.requests import Request
from starlette.types import Scope

from lookalike_serving.gateway.headers import header
from lookalike_serving.gateway.metrics import Metrics
from lookalike_serving.service import Service

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_KEY = "lookalike.request_id"
_ARRIVED = "lookalike.arrived"


def assign_request_id(scope: Scope) -> str:
    """The caller's `X-Request-ID` if it can be written into a log line, else a new one."""
    given = header(scope["headers"], b"x-request-id")
    valid = given is not None and _REQUEST_ID.fullmatch(given)
    request_id = given.decode() if given is not None and valid else uuid.uuid4().hex
    scope[_KEY] = request_id
    return request_id


def note_arrival(scope: Scope) -> float:
    """The time of its arrival, by `time.perf_counter`."""
    arrived = scope[_ARRIVED] = time.perf_counter()
    return arrived


def seconds_since_arrival(scope: Scope) -> float:
    arrived: float = scope[_ARRIVED]
    return time.perf_counter() - arrived


def request_id_of(scope: Scope) -> str | None:
    return scope.get(_KEY)


def service_of(request: Request) -> Service:
    """The service behind the app."""
    service: Service = request.app.state.service
    return service


def metrics_of(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics
