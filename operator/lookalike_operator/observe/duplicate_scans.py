"""The last duplicate scan of a collection, as the serving pods of its Retriever report it.

Scans run in serving pods, where the index is. No answer is an answer, too: a pod that still starts,
an older image, a NetworkPolicy. Then the status stays as it was. What was told is kept for as long
as it may be shown, so that no number of reconciles asks more often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
from cachetools import LRUCache
from pydantic import ValidationError

from lookalike_crds.image_collection import DuplicateScanStatus
from lookalike_operator.observe.secrets import SecretKey
from lookalike_operator.plan.duplicate_scans import ASKED_SECONDS
from lookalike_operator.plan.model import Meta, RetrieverFacts, Settings
from lookalike_operator.plan.names import internal_secret
from lookalike_operator.plan.secrets import INTERNAL_TOKEN
from lookalike_operator.plan.serving_config import service_url

_MOST_BYTES = 4096
_MOST_KEPT = 20_000
_AT_ONCE = 16


class DuplicateScans:
    """`secret`: the value of a key of a Secret; None if there is none."""

    def __init__(
        self,
        secret: Callable[[SecretKey], Awaitable[str | None]],
        settings: Settings,
        *,
        timeout: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secret = secret
        self._settings = settings
        self._timeout = timeout
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._kept: LRUCache[str, tuple[float, DuplicateScanStatus | None]] = LRUCache(_MOST_KEPT)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def last(self, collection: Meta, retriever: RetrieverFacts) -> DuplicateScanStatus | None:
        """Never raises for what the pods do or say."""
        kept = self._kept.get(collection.uid)
        # A little sooner than it is asked for again: a reconcile may come early.
        if kept is not None and self._clock() - kept[0] < ASKED_SECONDS - 5:
            return kept[1]
        name, namespace = retriever.meta.name, retriever.meta.namespace
        token = await self._secret(SecretKey(namespace, internal_secret(name), INTERNAL_TOKEN))
        said = None
        if token is not None:
            base = service_url(name, namespace, self._settings)
            async with self._gate:
                said = await self._ask(f"{base}{path(collection.name)}", token)
        self._kept[collection.uid] = (self._clock(), said)
        return said

    async def _ask(self, url: str, token: str) -> DuplicateScanStatus | None:
        if self._client is None:
            # The pod itself is meant, whatever proxy leads out of the cluster.
            self._client = httpx.AsyncClient(trust_env=False)
        headers = {"Authorization": f"Bearer {token}"}
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
            return DuplicateScanStatus.model_validate_json(body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValidationError):
            return None


def path(collection: str) -> str:
    """Of the route that the serving pods have for this."""
    return f"/internal/v1/collections/{collection}/last-duplicate-scan"
