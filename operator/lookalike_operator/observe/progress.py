"""How far pods are: each says so on a port of its own (lookalike_serving.progress_port)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from lookalike_crds.progress import WorkerProgress
from lookalike_operator.observe.answers import Answers
from lookalike_operator.plan import ingestion_pod, serving_pod
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.places import PROGRESS_PORT
from lookalike_operator.plan.progress import SHOWN_SECONDS

_CONTAINERS = {ingestion_pod.CONTAINER, serving_pod.CONTAINER}


class Progresses:
    def __init__(
        self,
        *,
        port: int = PROGRESS_PORT,
        timeout: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._answers = Answers(WorkerProgress, SHOWN_SECONDS, timeout=timeout, clock=clock)

    async def close(self) -> None:
        await self._answers.close()

    async def of(self, pods: Iterable[Manifest]) -> Mapping[str, WorkerProgress]:
        """By the names of those that run and answer. Never raises."""
        running = {pod["metadata"]["name"]: pod for pod in pods if _runs(pod)}
        told = await asyncio.gather(*(self._told(pod) for pod in running.values()))
        return {name: each for name, each in zip(running, told, strict=True) if each is not None}

    async def _told(self, pod: Manifest) -> WorkerProgress | None:
        uid = pod["metadata"]["uid"]
        if (kept := self._answers.kept(uid)) is not None:
            return kept.told
        address = str(pod["status"]["podIP"])
        host = f"[{address}]" if ":" in address else address
        return await self._answers.ask(uid, f"http://{host}:{self._port}/")


def _runs(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    names = {each.get("name") for each in (pod.get("spec") or {}).get("containers") or ()}
    return bool(status.get("phase") == "Running" and status.get("podIP") and _CONTAINERS & names)
