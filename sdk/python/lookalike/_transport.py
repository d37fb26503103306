"""The two ways to carry out an exchange: blocking and asyncio. Nothing is decided here."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import ssl
import time
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from lookalike._arguments import text
from lookalike._exchange import (
    Answer,
    Exchange,
    Failure,
    Operation,
    Pause,
    Request,
    RetryPolicy,
    exchange,
)
from lookalike.version import __version__

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Settings:
    base_url: str
    api_key: str | None
    timeout: httpx.Timeout
    policy: RetryPolicy

    @classmethod
    def of(
        cls,
        base_url: str | None,
        api_key: str | None,
        timeout: float | httpx.Timeout | None,
        retries: int,
    ) -> Settings:
        address = text(base_url or os.environ.get("LOOKALIKE_URL") or DEFAULT_URL, "base_url")
        url = address.rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url {url!r} is no http(s) address, such as {DEFAULT_URL}")
        if not isinstance(retries, int) or retries < 0:
            raise ValueError(f"retries: {retries!r} is no whole number from 0 on")
        if not isinstance(timeout, httpx.Timeout):
            timeout = httpx.Timeout(_seconds(timeout), connect=min(timeout or 5.0, 5.0))
        key = _api_key(api_key or os.environ.get("LOOKALIKE_API_KEY"))
        return cls(url, key, timeout, RetryPolicy(retries=retries))

    def client_options(self) -> dict[str, Any]:
        headers = {"user-agent": f"lookalike-python/{__version__}", "accept": "application/json"}
        if self.api_key:
            headers["authorization"] = f"Bearer {self.api_key}"
        return {
            "headers": headers,
            "timeout": self.timeout,
            # A proxy of the environment cannot reach a server on this machine.
            "trust_env": not _on_this_machine(self.base_url),
            "verify": _tls_context(),
            "limits": httpx.Limits(max_connections=64, max_keepalive_connections=16),
        }


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Shared, since reading the certificates of all authorities takes 50 ms: for every client."""
    return httpx.create_ssl_context()


def _seconds(timeout: float | None) -> float | None:
    if timeout is None or (isinstance(timeout, int | float) and timeout > 0):
        return timeout
    raise ValueError(
        f"timeout: {timeout!r} is no number of seconds above 0; None waits without end"
    )


def _api_key(key: str | None) -> str | None:
    """A header's value; of a file that is read whole the end of the line comes along."""
    if not key:
        return None
    stripped = text(key, "api_key").strip()
    if not stripped.isascii() or not stripped.isprintable():
        raise ValueError("api_key: a key is one line of ASCII characters")
    return stripped or None


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _options(settings: Settings, request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": settings.base_url + request.path,
        "params": dict(request.params) or None,
        "json": request.json,
        "content": request.content,
        "files": {
            name: (part.filename, part.content, part.media_type)
            for name, part in request.parts.items()
        }
        or None,
        "headers": dict(request.headers),
    }


def _answer(settings: Settings, response: httpx.Response) -> Answer:
    return Answer.of(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        content=response.content,
        url=str(response.url),
        base_url=settings.base_url,
    )


def _failure(settings: Settings, error: httpx.HTTPError) -> Failure:
    where = settings.base_url
    never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    cause = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        limit = settings.timeout.connect if never_sent else settings.timeout.read
        return Failure(f"no answer from {where} within {limit:g} s", not never_sent, timed_out=True)
    if never_sent:
        return Failure(f"cannot connect to {where}: {cause}", sent=False)
    return Failure(f"the connection to {where} broke: {cause}", sent=True)


class Transport:
    """Sends and sleeps, blocking. Safe to share between threads, as `httpx.Client` is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.Client(**settings.client_options())

    def run(self, operation: Operation[T]) -> T:
        steps: Exchange[T] = exchange(operation, self._settings.policy)
        outcome: Answer | Failure | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                outcome = None
            else:
                outcome = self._send(step.request)

    def _send(self, request: Request) -> Answer | Failure:
        try:
            response = self._client.request(**_options(self._settings, request))
            return _answer(self._settings, response)
        except httpx.HTTPError as error:
            return _failure(self._settings, error)

    def close(self) -> None:
        self._client.close()


class AsyncTransport:
    """Sends and sleeps on the event loop. Belongs to one loop, as `httpx.AsyncClient` does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(**settings.client_options())

    async def run(self, operation: Operation[T]) -> T:
        steps: Exchange[T] = exchange(operation, self._settings.policy)
        outcome: Answer | Failure | None = None
        while True:
            try:
                # In a thread, since an operation may read a file or encode an image.
                step = await asyncio.to_thread(_next, steps, outcome)
            except _Finished as finished:
                result: T = finished.value
                return result
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._send(step.request)

    async def _send(self, request: Request) -> Answer | Failure:
        try:
            response = await self._client.request(**_options(self._settings, request))
            return _answer(self._settings, response)
        except httpx.HTTPError as error:
            return _failure(self._settings, error)

    async def close(self) -> None:
        await self._client.aclose()


class _Finished(Exception):
    """StopIteration cannot leave a coroutine's future; this carries its value instead."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _next(steps: Exchange[T], outcome: Answer | Failure | None) -> Any:
    try:
        return steps.send(outcome)
    except StopIteration as stop:
        raise _Finished(stop.value) from None
