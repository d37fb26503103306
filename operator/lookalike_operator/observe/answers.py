"""What pods answer when the operator asks them.

No answer is an answer, too: a pod that still starts, an older image, a NetworkPolicy. An answer is
kept for as long as it may be shown, so that no number of reconciles asks more often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

import httpx
from cachetools import LRUCache
from pydantic import BaseModel, ValidationError

_T = TypeVar("_T", bound=BaseModel)
_MOST_BYTES = 4096
_MOST_KEPT = 20_000
_AT_ONCE = 16
_SOONER_SECONDS = 5.0
"""An answer is asked for again so much sooner than it is shown: a reconcile may come early."""


class Kept(NamedTuple, Generic[_T]):
    at: float
    told: _T | None
    """None: there was no answer."""


class Answers(Generic[_T]):
    """JSON of one shape, by a key of the caller's. `shown_seconds`: how long one may be shown."""

    def __init__(
        self,
        shape: type[_T],
        shown_seconds: float,
        *,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shape = shape
        self._kept_seconds = shown_seconds - _SOONER_SECONDS
        self._timeout = timeout
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._kept: LRUCache[str, Kept[_T]] = LRUCache(_MOST_KEPT)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    def kept(self, key: str) -> Kept[_T] | None:
        """None: it has to be asked for."""
        found = self._kept.get(key)
        fresh = found is not None and self._clock() - found.at < self._kept_seconds
        return found if fresh else None

    async def ask(self, key: str, url: str | None, headers: Mapping[str, str] = {}) -> _T | None:
        """Ask, and keep the answer. `url` None: nobody can be asked. Never raises for what a pod
        does or says."""
        told = None
        if url is not None:
            async with self._gate:
                told = await self._get(url, headers)
        self._kept[key] = Kept(self._clock(), told)
        return told

    async def _get(self, url: str, headers: Mapping[str, str]) -> _T | None:
        if self._client is None:
            # The pod itself is meant, whatever proxy leads out of the cluster.
            self._client = httpx.AsyncClient(trust_env=False)
        body = b""
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("GET", url, headers=headers) as answer,
            ):
                if answer.status_code != 200:
                    return None
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        return None
            return self._shape.model_validate_json(body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValidationError):
            return None
