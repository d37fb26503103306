"""What one caller may not take from the others: body size, rate, requests at once.

Refusals come before any work is done: 413 by the announced length or as soon as the body grows past
the limit, 429 with Retry-After.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike_serving.gateway.auth import CALLER
from lookalike_serving.gateway.context import header, request_id_of
from lookalike_serving.gateway.responses import problem_response
from lookalike_serving.problems import Problem

MAX_IN_FLIGHT = 512
"""Below /v1. More than these only make every answer late."""
_MAX_CALLERS = 4096
_BURST_SECONDS = 2.0


class TokenBuckets:
    """One bucket for each caller; `rate` tokens a second, two seconds' worth at most."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._burst = max(1.0, rate * _BURST_SECONDS)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str, now: float) -> float:
        """0 where the request may go on, else the seconds until one may."""
        tokens, then = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self.rate)
        allowed = tokens >= 1.0
        self._buckets[caller] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > _MAX_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self.rate


class Limits:
    """ASGI middleware. Inside authentication: a caller without a key takes no tokens."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._in_flight = 0
        self._buckets: TokenBuckets | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1"):
            await self._app(scope, receive, send)
            return
        config = scope["app"].state.service.config
        refusal = self._refusal(scope, config.access.rate_limit_per_second)
        limit = None if _reads_a_stream(scope["path"]) else 2 * config.fetch.max_bytes
        if refusal is None and limit is not None:
            refusal = _too_long(scope, limit)
        if refusal is not None:
            await problem_response(refusal, request_id_of(scope))(scope, receive, send)
            return
        self._in_flight += 1
        try:
            limited = receive if limit is None else _limited(receive, limit)
            await self._app(scope, limited, send)
        finally:
            self._in_flight -= 1

    def _refusal(self, scope: Scope, rate: float | None) -> Problem | None:
        if self._in_flight >= MAX_IN_FLIGHT:
            return overloaded("The service answers as many requests as it can.", 1)
        if rate is None:
            return None
        if self._buckets is None or self._buckets.rate != rate:
            self._buckets = TokenBuckets(rate)
        wait = self._buckets.wait(scope.get(CALLER, ""), time.monotonic())
        if wait <= 0:
            return None
        return overloaded(f"More than {rate:g} requests a second came from this caller.", wait)


def overloaded(reason: str, seconds: float) -> Problem:
    """429 that says when to try again."""
    wait = max(1, math.ceil(seconds))
    return Problem(
        429,
        "too-many-requests",
        f"{reason} Try again in {wait} s.",
        headers={"Retry-After": str(wait)},
    )


def too_large(limit: int) -> Problem:
    return Problem(
        413,
        "body-too-large",
        f"The request body is larger than {limit:,} bytes: send a smaller image, its URL, or a "
        "batch of several requests.",
        headers={"Connection": "close"},
    )


def _reads_a_stream(path: str) -> bool:
    """Batches read their body piece by piece and bound its parts themselves."""
    return path.startswith("/v1/collections/") and path.rstrip("/").endswith("/batches")


def _too_long(scope: Scope, limit: int) -> Problem | None:
    announced = header(scope["headers"], b"content-length")
    return (
        too_large(limit) if announced and announced.isdigit() and int(announced) > limit else None
    )


def _limited(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise too_large(limit)
        return message

    return counted
