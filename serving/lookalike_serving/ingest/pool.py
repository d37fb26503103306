"""What the workers of a run look like to whoever hands out its work, and the one in this process.

Those on Ray are in `on_ray/`. A process of a partitioned run always works in this process
(docs/adr/0006).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from lookalike_crds.config import IngestionConfig
from lookalike_serving.ingest.models import Loaded
from lookalike_serving.ingest.work import Outcome, Task
from lookalike_serving.ingest.worker import Worker


class Pool(Protocol):
    @property
    def capacity(self) -> int:
        """How many chunks may be under way at once."""
        ...

    async def process(self, tasks: Sequence[Task]) -> Outcome: ...

    async def close(self) -> None: ...


class LocalPool:
    """One worker in this process, with all its cores: no start-up but the model's.

    `ready`: the models that are loaded already.
    """

    capacity = 2

    def __init__(self, config: IngestionConfig, ready: Loaded) -> None:
        self._config = config
        self._ready = ready
        self._worker: Worker | None = None
        self._starting = asyncio.Lock()

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        async with self._starting:
            if self._worker is None:
                self._worker = await asyncio.to_thread(
                    Worker, self._config, threads=None, ready=self._ready
                )
        return await self._worker.process(tasks)

    async def close(self) -> None:
        if self._worker is not None:
            await self._worker.close()
