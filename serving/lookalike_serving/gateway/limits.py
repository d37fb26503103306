"""Limits for each caller: body size, time, memory, rate, concurrent requests.

Requests are refused before any work is done: 413 by the announced length or as soon as the body
exceeds the limit, 408 if it arrives too slowly, 429 with Retry-After. A request takes one of the
places of concurrent requests when its body has arrived, so that slow bodies block nobody.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable

from cachetools import LRUCache
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lookalike_crds.failures import BODY_TOO_LARGE, BODY_TOO_SLOW, TOO_MANY_REQUESTS
from lookalike_serving.gateway.auth import CALLER
from lookalike_serving.gateway.context import request_id_of
from lookalike_serving.gateway.headers import has_body, header
from lookalike_serving.gateway.responses import problem_response
from lookalike_serving.problems import Problem

MAX_IN_FLIGHT = 512
"""Below /v1. More requests than these would only delay every answer."""
MAX_STREAMS = 64
"""Batches that are being read: their bodies are worked on while they come."""
MAX_UNREAD_BYTES = 1 << 30
"""Of all bodies that have begun and not ended, since they lie in memory or on the disk."""
BODY_SECONDS = 20.0
"""How long a body may be waited for, and one second more for each SLOWEST_BYTES that came."""
SLOWEST_BYTES = 16 * 1024
_MAX_CALLERS = 4096
_BURST_SECONDS = 2.0


class TokenBuckets:
    """One bucket for each caller; `rate` tokens a second, two seconds' worth at most."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._burst = max(1.0, rate * _BURST_SECONDS)
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(_MAX_CALLERS)

    def wait(self, caller: str, now: float) -> float:
        """0 if the request may proceed, else the seconds until one may."""
        tokens, then = self._buckets.get(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self.rate)
        allowed = tokens >= 1.0
        self._buckets[caller] = (tokens - 1.0 if allowed else tokens, now)
        return 0.0 if allowed else (1.0 - tokens) / self.rate


class Shares:
    """`most` of something that callers hold for a while, shared so that newcomers get some.

    Nobody gets to hold more than is left afterwards: a single caller may have half, and a caller
    that has nothing yet gets some as long as there is any.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: Counter[str] = Counter()

    def take(self, caller: str, amount: int = 1) -> bool:
        """Whether the caller has got it. It has to `give` back what it has got."""
        if self._held[caller] + amount > self.most - self._held.total():
            self._drop(caller)
            return False
        self._held[caller] += amount
        return True

    def give(self, caller: str, amount: int = 1) -> None:
        self._held[caller] -= amount
        self._drop(caller)

    def _drop(self, caller: str) -> None:
        if self._held[caller] <= 0:
            del self._held[caller]


class Limits:
    """ASGI middleware. Inside authentication: a caller without a key takes no tokens."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._answered = Shares(MAX_IN_FLIGHT)
        self._streams = Shares(MAX_STREAMS)
        self._unread = Shares(MAX_UNREAD_BYTES)
        self._buckets: TokenBuckets | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1"):
            await self._app(scope, receive, send)
            return
        config = scope["app"].state.service.config
        limit = None if _reads_a_stream(scope) else 2 * config.fetch.max_bytes
        refusal = self._refusal(scope, config.access.rate_limit_per_second)
        if refusal is None and limit is not None:
            refusal = _too_long(scope, limit)
        if refusal is not None:
            await problem_response(refusal, request_id_of(scope))(scope, receive, send)
            return
        caller = scope.get(CALLER, "")
        if limit is None:
            places, body = self._streams, _Body(receive, caller, None, self._unread)
        else:
            places, body = self._answered, _Body(receive, caller, limit, self._unread)
        place = _Place(places, caller)
        try:
            if limit is None or not has_body(scope):
                place.take()
            await self._app(scope, body.then(place.take), send)
        except Problem as refused:
            # Of the place, before anything inside has seen the request.
            await problem_response(refused, request_id_of(scope))(scope, receive, send)
        finally:
            place.give()
            body.forget()

    def _refusal(self, scope: Scope, rate: float | None) -> Problem | None:
        if rate is None:
            return None
        if self._buckets is None or self._buckets.rate != rate:
            self._buckets = TokenBuckets(rate)
        wait = self._buckets.wait(scope.get(CALLER, ""), time.monotonic())
        if wait <= 0:
            return None
        return overloaded(f"This caller sent more than {rate:g} requests per second.", wait)


class _Place:
    """The place of one request among those that are being answered, taken once."""

    def __init__(self, places: Shares, caller: str) -> None:
        self._places = places
        self._caller = caller
        self._taken = False

    def take(self) -> None:
        """Raises Problem 429."""
        if self._taken:
            return
        if not self._places.take(self._caller):
            raise overloaded(
                "The service is already answering as many requests of this caller as it can.", 1
            )
        self._taken = True

    def give(self) -> None:
        if self._taken:
            self._places.give(self._caller)


class _Body:
    """The body of one request while it arrives: how much, how fast. `limit` None: its route limits
    it."""

    def __init__(self, receive: Receive, caller: str, limit: int | None, unread: Shares) -> None:
        self._receive = receive
        self._caller = caller
        self._limit = limit
        self._unread = unread
        self._kept = 0
        self._seen = 0
        self._waited = 0.0
        self._ended = False

    def then(self, when_it_is_there: Callable[[], None]) -> Receive:
        """Receives the body, and calls the callback with its end. Raises Problem 408, 413 or
        429."""

        async def receive() -> Message:
            if self._ended:
                return await self._receive()
            message = await self._next()
            size = len(message.get("body", b""))
            self._seen += size
            if self._limit is not None and self._seen > self._limit:
                raise too_large(self._limit)
            if message["type"] != "http.request" or not message.get("more_body", False):
                self._ended = True
                when_it_is_there()
            elif self._limit is not None:
                self._keep(size)
            return message

        return receive

    async def _next(self) -> Message:
        left = BODY_SECONDS + self._seen / SLOWEST_BYTES - self._waited
        started = time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await self._receive()
        except TimeoutError:
            raise too_slow() from None
        finally:
            self._waited += time.monotonic() - started

    def _keep(self, size: int) -> None:
        if not self._unread.take(self._caller, size):
            raise overloaded("This caller has sent too many bytes of unfinished requests.", 1)
        self._kept += size

    def forget(self) -> None:
        if self._kept:
            self._unread.give(self._caller, self._kept)


def too_slow() -> Problem:
    return Problem(
        BODY_TOO_SLOW,
        f"The request body did not arrive within {BODY_SECONDS:g} s, plus one second for each "
        f"{SLOWEST_BYTES:,} bytes: send it faster, or send a smaller body.",
        headers={"Connection": "close"},
    )


def overloaded(reason: str, seconds: float) -> Problem:
    """429 that says when to try again."""
    wait = max(1, math.ceil(seconds))
    return Problem(
        TOO_MANY_REQUESTS,
        f"{reason} Try again in {wait} s.",
        headers={"Retry-After": str(wait)},
    )


def too_large(limit: int) -> Problem:
    return Problem(
        BODY_TOO_LARGE,
        f"The request body is larger than {limit:,} bytes: send a smaller image, its URL, or a "
        "batch of several requests.",
        headers={"Connection": "close"},
    )


def _reads_a_stream(scope: Scope) -> bool:
    """Batches read their body piece by piece and bound its parts themselves."""
    path: str = scope["path"]
    return (
        scope["method"] == "POST"
        and path.startswith("/v1/collections/")
        and path.rstrip("/").endswith("/batches")
    )


def _too_long(scope: Scope, limit: int) -> Problem | None:
    announced = header(scope["headers"], b"content-length")
    return (
        too_large(limit) if announced and announced.isdigit() and int(announced) > limit else None
    )
