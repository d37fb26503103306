"""The models that one process has loaded: each once, however many collections use it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from lookalike_crds.image_collection import ModelSpec
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.embed.execution.background import Tuning
from lookalike_serving.embed.load import load_embedder
from lookalike_serving.embed.room import check_room
from lookalike_serving.together import to_its_end

_TUNING_AFTER = 30.0
"""Seconds after a model is loaded until it is measured, if it has to be."""
_REMEMBERED_TEXTS, _REMEMBERED_IMAGES = 1024, 256
"""Recent queries whose vectors are kept: paging and filtering repeat the same text or picture."""
_LONGEST_WAIT_SECONDS = 10.0
"""Of a query for its embedding: few callers wait longer, and more in the queue delay all."""


class Models:
    def __init__(self, weights: Path, *, max_pixels: int, random_weights: bool) -> None:
        """`weights`: folder for what is fetched. `max_pixels`: of an image that is embedded.
        `random_weights`: for OpenClip models that name none, in benchmarks."""
        self.loaded: dict[ModelSpec, BatchedEmbedder] = {}
        self._weights = weights
        self._max_pixels = max_pixels
        self._random_weights = random_weights
        self._tunings: dict[ModelSpec, Tuning] = {}
        self._loading: defaultdict[ModelSpec, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, model: ModelSpec) -> BatchedEmbedder:
        """The model, loaded if it is not. Raises ModelError."""
        async with self._loading[model]:
            embedder = self.loaded.get(model)
            if embedder is None:
                embedder = self.loaded[model] = await self._load(model)
                tuning = Tuning(embedder, model, self._weights, random_weights=self._random_weights)
                tuning.start(after=_TUNING_AFTER)
                self._tunings[model] = tuning
        return embedder

    async def _load(self, model: ModelSpec) -> BatchedEmbedder:
        if not self._random_weights:
            beside = bool(self.loaded)
            await asyncio.to_thread(check_room, model, self._weights, beside=beside)
        loaded = await asyncio.to_thread(
            load_embedder,
            model,
            self._weights,
            random_weights_for_benchmarks=self._random_weights,
        )
        return BatchedEmbedder(
            loaded,
            max_pixels=self._max_pixels,
            text_cache=_REMEMBERED_TEXTS,
            image_cache=_REMEMBERED_IMAGES,
            longest_wait=_LONGEST_WAIT_SECONDS,
        )

    def forget(self, unused: Iterable[BatchedEmbedder]) -> list[Coroutine[Any, Any, None]]:
        """These are not found any more. Await what is returned: each ends one model when nobody
        waits for its embeddings, and gives its memory back."""
        ended = {id(each) for each in unused}
        gone = [model for model, embedder in self.loaded.items() if id(embedder) in ended]
        return [_ended(self.loaded.pop(model), self._tunings.pop(model, None)) for model in gone]

    async def close(self) -> None:
        """Stop all, whoever waits."""
        for tuning in self._tunings.values():
            await asyncio.to_thread(tuning.close)
        self._tunings.clear()
        for embedder in self.loaded.values():
            await asyncio.to_thread(embedder.close)
        self.loaded.clear()


async def _ended(embedder: BatchedEmbedder, tuning: Tuning | None) -> None:
    """End a model that gets no new embeddings, when those that are under way are computed."""
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * _LONGEST_WAIT_SECONDS):
                while embedder.stats.under_way:  # noqa: ASYNC110 - its threads change it
                    await asyncio.sleep(0.05)
    finally:
        await to_its_end(asyncio.to_thread(_close, embedder, tuning))


def _close(embedder: BatchedEmbedder, tuning: Tuning | None) -> None:
    if tuning is not None:
        tuning.close()
    embedder.close()
