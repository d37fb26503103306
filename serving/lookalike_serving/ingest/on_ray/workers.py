"""Whole workers as Ray actors: each decodes and embeds its own chunks. For one machine."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike_crds.config import IngestionConfig
from lookalike_serving.ingest.on_ray.joining import join
from lookalike_serving.ingest.on_ray.slots import PER_WORKER, Slot, Slots, WorkerActor
from lookalike_serving.ingest.work import Outcome, Task
from lookalike_serving.machine.cpus import usable_cpus


class Workers:
    """Ray actors, one for each GPU or else core, unless `ingestion.parallelism` says otherwise."""

    def __init__(self, config: IngestionConfig) -> None:
        import ray

        join(config.ray_address)
        there, free = ray.cluster_resources(), ray.available_resources()
        gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
        count = config.ingestion.parallelism or gpus or min(cpus, usable_cpus())
        self.capacity = count * PER_WORKER
        # Reserve a CPU each, and of the GPUs an equal share, if that many are free; otherwise
        # share with what runs here. An actor that reserves no GPU sees all of them (Ray 2.60).
        share = min(1.0, gpus / count)
        actor = ray.remote(
            num_cpus=1 if free.get("CPU", 0) >= count else 0,
            num_gpus=share if gpus and free.get("GPU", 0) >= share * count else 0,
            max_concurrency=PER_WORKER,
        )(WorkerActor)
        # On a GPU the model leaves the CPUs to decoding.
        threads = max(1, usable_cpus() // count) if gpus else 1
        text = config.model_dump_json()
        self._slots = Slots()
        for _ in range(count):
            self._slots.add(Slot(lambda: actor.remote(text, threads)))

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        return await self._slots.process(tasks)

    async def close(self) -> None:
        self._slots.kill()
