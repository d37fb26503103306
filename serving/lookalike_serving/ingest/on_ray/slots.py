"""Chunks handed to Ray actors, each of which is replaced if it dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from lookalike_crds.config import IngestionConfig
from lookalike_crds.failures import WORKER_DIED
from lookalike_serving.ingest.models import Loaded
from lookalike_serving.ingest.on_ray.joining import RayUnavailable
from lookalike_serving.ingest.work import Failure, Outcome, Task
from lookalike_serving.ingest.worker import Worker

log = logging.getLogger("lookalike.ingest")

PER_WORKER = 2
"""Chunks at once: one in the model, one being fetched."""
_TRIES = 3
_STARTS, _START_SECONDS = 10, 2.0
"""How often an actor may not start, of each slot, and how long after that Ray is asked again."""
_LOOK_SECONDS = 2.0
_NOBODY_SECONDS = 600.0
"""How long a run waits for a node if all of them have gone."""


class Slot:
    """A place for one actor, which may be replaced."""

    def __init__(self, start: Callable[[], Any], node: str | None = None) -> None:
        self._start = start
        self.node = node
        """The node that it is on, if that matters."""
        self.actor = start()
        self.begun: Any = None
        """The actor, once its process runs."""
        self.closed = False

    def replace(self, dead: Any) -> None:
        """The other chunk in it may have replaced the actor already."""
        if self.actor is dead:
            self.actor = self._start()


class Slots:
    """Gives each chunk to a free slot. An actor that dies – killed, out of memory, its node gone –
    is replaced, and its chunk is given to the next free one; a chunk that has ended three actors is
    reported as failed. If Ray cannot start an actor, its chunk is not the cause: Ray is asked
    again after a while.

    `look` is called every few seconds, so that slots can follow the nodes of a cluster.
    """

    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        import ray

        self._ray = ray
        self._look = look
        self._looked_at = 0.0
        self.all: list[Slot] = []
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        self._not_started = 0
        """Actors, one after the other."""

    def add(self, slot: Slot) -> None:
        self.all.append(slot)
        for _ in range(PER_WORKER):
            self._free.put_nowait(slot)

    def close(self, slot: Slot) -> None:
        """It gets no more chunks."""
        slot.closed = True
        self.all.remove(slot)
        self._ray.kill(slot.actor)

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        """Raises what the worker itself raises, such as IndexFailure, and RayUnavailable."""
        deaths = 0
        while deaths < _TRIES:
            slot = await self._next()
            actor = slot.actor
            try:
                if slot.begun is not actor:
                    await actor.begin.remote()
                    slot.begun, self._not_started = actor, 0
                outcome: Outcome = await actor.process.remote(list(tasks))
                return outcome
            except self._ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except self._ray.exceptions.RayActorError as error:
                if slot.begun is actor:
                    deaths += 1
                else:
                    await self._wait_to_start(error)
                self._look()
                if not slot.closed:
                    slot.replace(actor)
            finally:
                if not slot.closed:
                    self._free.put_nowait(slot)
        cause = f"the worker died {_TRIES} times over the chunk this image was in"
        failures = tuple(Failure(t.source, t.item.key, cause, WORKER_DIED.code) for t in tasks)
        return Outcome({}, {}, {}, failures)

    async def _wait_to_start(self, error: Exception) -> None:
        self._not_started += 1
        if self._not_started > _STARTS * max(1, len(self.all)):
            raise RayUnavailable(
                f"Ray cannot start workers: {str(error).strip()}; look for the cause in its logs, "
                "which are in the folder session_latest/logs of its temporary folder"
            )
        log.warning("Ray did not start a worker, and is asked again")
        await asyncio.sleep(_START_SECONDS)

    async def _next(self) -> Slot:
        now = asyncio.get_running_loop().time
        deadline = now() + _NOBODY_SECONDS
        while True:
            if now() - self._looked_at > _LOOK_SECONDS:
                self._looked_at = now()
                self._look()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    slot = await self._free.get()
            except TimeoutError:
                if self.all:
                    deadline = now() + _NOBODY_SECONDS
                elif now() > deadline:
                    raise RayUnavailable(
                        "the Ray cluster has no nodes with CPUs any more: add one, or raise "
                        "num-cpus of its nodes"
                    ) from None
                continue
            if not slot.closed:
                return slot

    def kill(self) -> None:
        for slot in self.all:
            self._ray.kill(slot.actor)


class WorkerActor:
    """A Worker in a process of its own, with `threads` for its model and its decoding each.

    `embedders`: the actor that has the model; None: the worker loads it.
    """

    def __init__(self, config: str, threads: int, embedders: Any = None) -> None:
        self._worker: Worker | None = None
        self._threads = threads
        self._config = IngestionConfig.model_validate_json(config)
        self._embedders = embedders
        self._starting = asyncio.Lock()

    def begin(self) -> None:
        """Answers as soon as the process runs."""

    async def process(self, tasks: list[Task]) -> Outcome:
        async with self._starting:
            if self._worker is None:
                self._worker = await self._start()
        return await self._worker.process(tasks)

    async def _start(self) -> Worker:
        embedder = None
        if self._embedders is not None:
            from lookalike_serving.ingest.on_ray.embedding import RemoteEmbedder

            embedder = RemoteEmbedder(self._embedders, await self._embedders.model.remote())
        return await asyncio.to_thread(
            Worker, self._config, threads=self._threads, ready=Loaded(embedder)
        )
