"""How far ingestion pods are: each says so on a port of its own (lookalike_serving.ingest).

No answer is an answer, too: a pod that still starts, an older image, a NetworkPolicy. What a pod
says is kept for as long as it may be shown, so that no number of looks asks more often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

import httpx
from pydantic import ValidationError

from lookalike_crds.progress import WorkerProgress
from lookalike_operator.plan.ingestion_pod import CONTAINER
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.places import PROGRESS_PORT
from lookalike_operator.plan.progress import SHOWN_SECONDS

_MOST_BYTES = 4096
_MOST_KEPT = 20_000
_AT_ONCE = 16


class Progresses:
    def __init__(
        self,
        *,
        port: int = PROGRESS_PORT,
        timeout: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._timeout = timeout
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._kept: dict[str, tuple[float, WorkerProgress | None]] = {}

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def of(self, pods: Iterable[Manifest]) -> Mapping[str, WorkerProgress]:
        """By the names of those that run and answer. Never raises."""
        running = {pod["metadata"]["name"]: pod for pod in pods if _runs(pod)}
        told = await asyncio.gather(*(self._told(pod) for pod in running.values()))
        return {name: each for name, each in zip(running, told, strict=True) if each is not None}

    async def _told(self, pod: Manifest) -> WorkerProgress | None:
        uid = pod["metadata"]["uid"]
        kept = self._kept.get(uid)
        # A little sooner than it is shown again: a look may come early.
        if kept is not None and self._clock() - kept[0] < SHOWN_SECONDS - 5:
            return kept[1]
        async with self._gate:
            said = await self._ask(str(pod["status"]["podIP"]))
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[uid] = (self._clock(), said)
        return said

    async def _ask(self, address: str) -> WorkerProgress | None:
        if self._client is None:
            # The pod itself is meant, whatever proxy leads out of the cluster.
            self._client = httpx.AsyncClient(trust_env=False)
        host = f"[{address}]" if ":" in address else address
        body = b""
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("GET", f"http://{host}:{self._port}/") as answer,
            ):
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        return None
            return WorkerProgress.model_validate_json(body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValidationError):
            return None


def _runs(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    names = {each.get("name") for each in (pod.get("spec") or {}).get("containers") or ()}
    return bool(status.get("phase") == "Running" and status.get("podIP") and CONTAINER in names)
