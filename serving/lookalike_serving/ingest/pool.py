"""The workers of a run: one in this process, or Ray actors for a large run that has a Ray.

A process of a partitioned run always works in this process (docs/adr/0006).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from lookalike_crds.config import IngestionConfig
from lookalike_crds.failures import WORKER_DIED
from lookalike_serving.embed.protocol import Embedder
from lookalike_serving.ingest.work import Failure, Outcome, Task
from lookalike_serving.ingest.worker import Worker
from lookalike_serving.machine.cpus import usable_cpus

log = logging.getLogger("lookalike.ingest")

_TRIES = 3
_RAY_STARTS = 3
_PER_WORKER = 2  # chunks at once: one in the model, one being fetched


class Pool(Protocol):
    @property
    def capacity(self) -> int:
        """How many chunks may be under way at once."""
        ...

    async def process(self, tasks: Sequence[Task]) -> Outcome: ...

    async def close(self) -> None: ...


class LocalPool:
    """One worker in this process, with all its cores: no start-up but the model's.

    `embedder`: the model, where it is loaded already.
    """

    capacity = 2

    def __init__(self, config: IngestionConfig, embedder: Embedder | None = None) -> None:
        self._config = config
        self._embedder = embedder
        self._worker: Worker | None = None
        self._starting = asyncio.Lock()

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        async with self._starting:
            if self._worker is None:
                self._worker = await asyncio.to_thread(
                    Worker, self._config, threads=None, embedder=self._embedder
                )
        return await self._worker.process(tasks)

    async def close(self) -> None:
        if self._worker is not None:
            await self._worker.close()


class RayPool:
    """Ray actors, one for each GPU or else core, unless `ingestion.parallelism` says otherwise.

    An actor that dies – killed, out of memory, its node gone – is replaced, and its chunk is
    given to the next free one; a chunk that has ended three actors is reported as failed.
    """

    def __init__(self, config: IngestionConfig) -> None:
        import ray

        self._ray = ray
        if not ray.is_initialized():
            _start_ray(config.ray_address)
        there, free = ray.cluster_resources(), ray.available_resources()
        gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
        count = config.ingestion.parallelism or gpus or min(cpus, usable_cpus())
        self.capacity = count * _PER_WORKER
        # Reserve a CPU each, and of the GPUs an equal share, where that many are free; otherwise
        # share with what runs here. Who reserves no GPU sees all of them (Ray 2.60).
        share = min(1.0, gpus / count)
        self._actor = ray.remote(
            num_cpus=1 if free.get("CPU", 0) >= count else 0,
            num_gpus=share if gpus and free.get("GPU", 0) >= share * count else 0,
            max_concurrency=_PER_WORKER,
        )(_Actor)
        # On a GPU the model leaves the CPUs to decoding.
        self._threads = max(1, usable_cpus() // count) if gpus else 1
        self._config = config.model_dump_json()
        self._free: asyncio.Queue[_Slot] = asyncio.Queue()
        self._slots = [_Slot(self._start()) for _ in range(count)]
        for slot in self._slots * _PER_WORKER:
            self._free.put_nowait(slot)

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        slot = await self._free.get()
        try:
            for _ in range(_TRIES):
                actor = slot.actor
                try:
                    outcome: Outcome = await actor.process.remote(list(tasks))
                    return outcome
                except self._ray.exceptions.RayTaskError as error:
                    # What the worker itself raised (IndexFailure, ModelError), not its death.
                    raise error.as_instanceof_cause() from None
                except self._ray.exceptions.RayActorError:
                    if slot.actor is actor:  # the other chunk in it may have replaced it already
                        slot.actor = self._start()
        finally:
            self._free.put_nowait(slot)
        cause = f"the worker died {_TRIES} times over the chunk this image was in"
        failures = tuple(Failure(t.source, t.item.key, cause, WORKER_DIED.code) for t in tasks)
        return Outcome({}, {}, {}, failures)

    async def close(self) -> None:
        for slot in self._slots:
            self._ray.kill(slot.actor)

    def _start(self) -> Any:
        return self._actor.remote(self._config, self._threads)


def _start_ray(address: str | None) -> None:
    """Join the cluster at `address`; without one, start a Ray of our own."""
    import ray

    for left in reversed(range(_RAY_STARTS)):
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level="ERROR",
                include_dashboard=None if address else False,
            )
            return
        except Exception:
            # Ray gives a node of its own 30 s to start, which a busy machine may not keep, and has
            # no exception of its own for that.
            if address or not left:
                raise
            log.warning("Ray did not start; trying again", exc_info=True)
            ray.shutdown()


class _Slot:
    """A place for one actor, which may be replaced."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor


class _Actor:
    """A Worker in a process of its own, with `threads` for its model and its decoding each."""

    def __init__(self, config: str, threads: int) -> None:
        self._worker: Worker | None = None
        self._threads = threads
        self._config = IngestionConfig.model_validate_json(config)
        self._starting = asyncio.Lock()

    async def process(self, tasks: list[Task]) -> Outcome:
        async with self._starting:
            if self._worker is None:
                self._worker = await asyncio.to_thread(Worker, self._config, threads=self._threads)
        return await self._worker.process(tasks)
