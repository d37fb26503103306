"""`ingestion.runtime: Ray`: decoders on every node with CPUs, in front of actors with the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lookalike_crds.config import IngestionConfig
from lookalike_crds.image_collection import RayIngestionSpec
from lookalike_serving.ingest.on_ray.embedding import Bounds, Embedders
from lookalike_serving.ingest.on_ray.joining import join
from lookalike_serving.ingest.on_ray.slots import PER_WORKER, Slot, Slots, WorkerActor
from lookalike_serving.ingest.work import Outcome, Task

_CALLS = 10_000
"""Batches that may wait for an embedder at once: at most one for each decoder."""


class Pipeline:
    """Decoders follow the nodes of the cluster: one for each CPU of a node, from the moment it is
    there. They reserve no CPUs, so that those of a node that is lost never wait for another one:
    the decoders of the remaining nodes take its keys."""

    def __init__(self, config: IngestionConfig) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray = ray
        self._on = NodeAffinitySchedulingStrategy
        join(config.ray_address)
        self._nodes = config.ingestion.parallelism
        self._config = config.model_dump_json()
        # Beside the driver: whatever ends one of them ends the run.
        here = self._on(ray.get_runtime_context().get_node_id(), soft=False)
        self._embedders: Any = ray.remote(
            num_cpus=0, max_concurrency=_CALLS, scheduling_strategy=here
        )(Embedders).remote(
            self._config, _bounds(config, ray.cluster_resources(), ray.available_resources())
        )
        self._slots = Slots(self._follow_nodes)
        self._follow_nodes()

    @property
    def capacity(self) -> int:
        return max(1, len(self._slots.all)) * PER_WORKER

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        return await self._slots.process(tasks)

    async def close(self) -> None:
        self._slots.kill()
        self._ray.kill(self._embedders)  # the actors with the model end with it

    def _follow_nodes(self) -> None:
        cpus = self._cpus_by_node()
        for slot in list(self._slots.all):
            if slot.node not in cpus:
                self._slots.close(slot)
        known = {slot.node for slot in self._slots.all}
        for node, count in cpus.items():
            if node not in known:
                for _ in range(count):
                    self._slots.add(Slot(lambda on=node: self._start(on), node))  # type: ignore[misc]

    def _cpus_by_node(self) -> dict[str, int]:
        """Of the nodes that decode: those without GPUs first."""
        alive = [
            (each["Resources"].get("GPU", 0), each["NodeID"], int(each["Resources"].get("CPU", 0)))
            for each in self._ray.nodes()
            if each["Alive"]
        ]
        nodes = [(node, cpus) for _, node, cpus in sorted(alive) if cpus]
        return dict(nodes[: self._nodes])

    def _start(self, node: str) -> Any:
        """A decoder. If its node goes before it starts, it starts on another one."""
        actor = self._ray.remote(
            num_cpus=0, max_concurrency=PER_WORKER, scheduling_strategy=self._on(node, soft=True)
        )(WorkerActor)
        return actor.remote(self._config, 1, self._embedders)


def _bounds(config: IngestionConfig, there: dict[str, float], free: dict[str, float]) -> Bounds:
    """On a cluster whose nodes the autoscaler adds, the spec says both."""
    asked = (config.ingestion.ray or RayIngestionSpec()).embedders
    have = there.get("GPU", 0) // asked.gpus if asked.gpus else there.get("CPU", 1) // asked.cpus
    most = asked.max_replicas or max(asked.min_replicas, int(have))
    # Without so many free CPUs, it shares them with what runs there, such as a server.
    fit = free.get("CPU", 0) >= asked.min_replicas * asked.cpus
    reserved = asked.cpus if fit and not asked.gpus else 0
    return Bounds(asked.min_replicas, most, asked.cpus, asked.gpus, reserved)
