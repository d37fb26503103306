"""One number from Prometheus: an instant query, bounded, kept for a scrape interval.

No answer and no data are answers, too: scaling holds if it does not know.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import httpx

from lookalike_operator.plan.model import Sample

_MOST_KEPT = 20_000


class Prometheus:
    """`url` None: there is none, and every sample says so."""

    def __init__(
        self,
        url: str | None,
        *,
        timeout: float = 5.0,
        keep: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = url.rstrip("/") if url else None
        self._timeout = timeout
        self._keep = keep
        self._clock = clock
        self._client = client
        self._kept: dict[str, tuple[float, Sample]] = {}

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def sample(self, query: str) -> Sample:
        """Never raises."""
        kept = self._kept.get(query)
        if kept is not None and self._clock() - kept[0] < self._keep:
            return kept[1]
        sample = await self._ask(query)
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[query] = (self._clock(), sample)
        return sample

    async def _ask(self, query: str) -> Sample:
        if self._url is None:
            return Sample(
                None, "no Prometheus is configured: start the operator with --prometheus-url"
            )
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout)
        try:
            answer = await self._client.get(f"{self._url}/api/v1/query", params={"query": query})
            document = answer.json()
        except httpx.TimeoutException:
            return Sample(None, f"{self._url} timed out after {self._timeout:g} s")
        except (httpx.HTTPError, ValueError) as error:
            return Sample(None, f"{self._url} is unreachable: {error or type(error).__name__}")
        if answer.status_code != 200 or document.get("status") != "success":
            said = document.get("error") or f"HTTP {answer.status_code}"
            return Sample(None, f"{self._url} refused the query: {' '.join(str(said).split())}")
        return _sample(document.get("data") or {})


def _sample(data: dict[str, object]) -> Sample:
    result = data.get("result")
    try:
        if data.get("resultType") == "scalar":
            value = float(result[1])  # type: ignore[index]
        elif isinstance(result, list) and len(result) == 1:
            value = float(result[0]["value"][1])
        elif isinstance(result, list) and result:
            return Sample(None, f"the query returns {len(result)} series: aggregate them to one")
        else:
            return Sample(None, "no data")
    except (KeyError, IndexError, TypeError, ValueError):
        return Sample(None, "the answer is not a number: write a query that returns one")
    if not math.isfinite(value):
        return Sample(None, "no data")
    return Sample(value)
