"""Fetching as a guest that comes back: for ingestion, which reads many images from a few hosts.

A host is asked for a few images at once. If it answers that it is busy (429 or 503), nobody asks it
again before the time that it names in `Retry-After`; if it names none, the waits grow. Callers of
the API do not wait so long, and get the failure at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
from cachetools import LRUCache

from lookalike_crds.backoff import Backoff
from lookalike_serving.images.errors import Busy
from lookalike_serving.images.fetch import Fetched, ImageFetcher, Validators

PER_HOST = 8
"""Images that one process fetches from one host at once."""


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What one process asks of one host at most."""

    at_once: int = PER_HOST
    per_second: float | None = None


ATTEMPTS = 5
LONGEST_WAIT = 120.0
"""Seconds. A host that asks for more is not waited for: the next run finds it."""
_MOST_HOSTS = 10_000
_BACKOFF = Backoff(base=1.0)


@dataclass(slots=True)
class _Host:
    room: asyncio.Semaphore
    free_at: float = 0.0
    """When it may be asked again after it was busy; on the monotonic clock."""
    turn_at: float = 0.0
    """When the next request may be sent, by the rate."""


class PatientFetcher:
    """Reads the bytes at addresses of the web. One for an event loop."""

    def __init__(
        self,
        fetcher: ImageFetcher,
        limits: HostLimits = HostLimits(),
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetcher = fetcher
        self._limits = limits
        self._sleep = sleep
        self._clock = clock
        self._hosts: LRUCache[str, _Host] = LRUCache(_MOST_HOSTS)

    async def read(self, address: str) -> bytes:
        """Raises ImageError: what `ImageFetcher.fetch` raises."""
        fetched = await self.read_unless(address, Validators())
        assert fetched is not None
        return fetched.data

    async def read_unless(self, address: str, known: Validators) -> Fetched | None:
        """What `ImageFetcher.fetch_unless` gives and raises."""
        host = self._host(address)
        async with host.room:
            for attempt in range(1, ATTEMPTS + 1):
                await self._its_turn(host)
                try:
                    return await self._fetcher.fetch_unless(address, known)
                except Busy as busy:
                    wait = _BACKOFF.after(attempt) if busy.retry_after is None else busy.retry_after
                    if attempt == ATTEMPTS or wait > LONGEST_WAIT:
                        raise
                    host.free_at = max(host.free_at, self._clock() + wait)
        raise AssertionError

    async def _its_turn(self, host: _Host) -> None:
        """Return when the host may be asked."""
        if self._limits.per_second is not None:
            turn = max(host.turn_at, self._clock())
            host.turn_at = turn + 1 / self._limits.per_second
            if (left := turn - self._clock()) > 0:
                await self._sleep(left)
        while (left := host.free_at - self._clock()) > 0:
            await self._sleep(left)

    def _host(self, address: str) -> _Host:
        try:
            name = httpx.URL(address.strip()).host
        except (httpx.InvalidURL, ValueError):
            name = ""  # the fetcher says what is wrong with it
        found = self._hosts.get(name)
        if found is None:
            found = self._hosts[name] = _Host(asyncio.Semaphore(self._limits.at_once))
        return found
