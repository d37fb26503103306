"""The actors that hold the model, and the one that hands batches of pixels to them.

A batch goes to the embedder with the least to do, of those that have room; otherwise the decoder
that sent it waits, and reads no more images than fit into its own queue. Each embedder has at most
two batches: one in the model, and one whose pixels are fetched meanwhile. If a batch was always
waiting for a while, another embedder starts; one that had nothing to do for a while ends. A batch
whose embedder died, or was on a node that died, goes to another one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike_crds.config import IngestionConfig
from lookalike_serving.embed.protocol import (
    Embedder,
    EmbedderInfo,
    ModelError,
    ModelUnavailable,
    Preprocess,
    Vectors,
)
from lookalike_serving.ingest import models
from lookalike_serving.ingest.on_ray.joining import RayUnavailable

PER_EMBEDDER = 2
_TRIES = 3
_LOOK_SECONDS = 0.1
_BUSY_SECONDS = 2.0
"""If a batch was always waiting for so long, another embedder starts."""
_IDLE_SECONDS = 30.0
_ROOM_SECONDS = 900.0
"""How long a node may take to come up that has room for an embedder."""

log = logging.getLogger("lookalike.ingest")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many embedders there are, and what each of them reserves."""

    least: int
    most: int
    cpus: int
    """For its computing."""
    gpus: int
    reserved_cpus: int

    def __str__(self) -> str:
        return f"{self.gpus} GPU" if self.gpus else f"{self.cpus} CPU"


@dataclass(frozen=True, slots=True)
class Model:
    """What a process needs that prepares pixels for the model elsewhere."""

    info: EmbedderInfo
    preprocess: Preprocess


class EmbedderActor:
    """The model, on one GPU or some CPUs. One call at a time."""

    def __init__(self, config: str, cpus: int) -> None:
        self._config = IngestionConfig.model_validate_json(config)
        self._cpus = cpus
        self._loaded: Embedder | None = None

    def placed(self) -> None:
        """Answers as soon as a node has it."""

    def load(self) -> Model:
        """Raises ModelError."""
        self._loaded = models.loaded(self._config, self._config.collection.model, self._cpus)
        info = self._loaded.info
        preprocess = getattr(self._loaded, "preprocessing", None)
        if preprocess is None:
            raise ModelError(
                f"provider {info.provider} has no `preprocessing` that a process without the model "
                "could use: add it to its embedder, or write ingestion.runtime: Job"
            )
        return Model(info, preprocess)

    def embed(self, pixels: NDArray[Any]) -> Vectors:
        """(n, 3, s, s) -> (n, d) float32. Raises ModelError."""
        assert self._loaded is not None
        return self._loaded.embed_pixels(list(pixels))


class _Place:
    """One embedder that is ready."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.under_way = 0
        self.used_at = time.monotonic()


class Embedders:
    """Starts embedders and hands batches to them. Lives in an event loop, as a Ray actor."""

    def __init__(self, config: str, bounds: Bounds) -> None:
        import ray

        self._ray = ray
        self._config = config
        self._bounds = bounds
        self._kind = ray.remote(
            num_cpus=bounds.reserved_cpus,
            num_gpus=bounds.gpus,
            scheduling_strategy="SPREAD",
        )(EmbedderActor)
        self._ready: list[_Place] = []
        self._starting: set[asyncio.Task[None]] = set()
        self._asked = 0
        """Batches that were sent and not yet answered."""
        self._deaths = 0
        """Since a batch was last embedded."""
        self._model: Model | None = None
        self._failure: Exception | None = None
        self._changed = asyncio.Condition()
        self._watching: asyncio.Task[None] | None = None
        self._most = 0

    async def model(self) -> Model:
        """Once one embedder is ready. Raises ModelError, RayUnavailable."""
        self._begin()
        async with self._changed:
            await self._changed.wait_for(lambda: self._model is not None or self._failure)
        return self._known()

    async def embed(self, batch: list[Any]) -> Vectors:
        """`batch`: one reference to (n, 3, s, s) pixels; in a list, so that they are not fetched
        here. Raises ModelError, RayUnavailable."""
        self._begin()
        self._asked += 1
        try:
            for _ in range(_TRIES):
                place = await self._take()
                try:
                    vectors: Vectors = await place.actor.embed.remote(batch[0])
                except self._ray.exceptions.RayTaskError as error:
                    raise _cause(error) from None
                except (
                    self._ray.exceptions.RayActorError,
                    self._ray.exceptions.ActorUnschedulableError,
                ):
                    await self._lost(place)
                    continue
                finally:
                    await self._give(place)
                self._deaths = 0
                return vectors
        finally:
            self._asked -= 1
        raise ModelUnavailable(
            f"{_TRIES} embedders died over one batch: look for the cause in the logs of Ray; it is "
            "often a lack of memory"
        )

    async def most(self) -> int:
        """How many embedders there were at once."""
        return self._most

    # -- batches -----------------------------------------------------------------------------------

    async def _take(self) -> _Place:
        def free() -> _Place | None:
            # Of those with equally little to do the first: the last ones become idle.
            best = min(self._ready, key=lambda place: place.under_way, default=None)
            return best if best is not None and best.under_way < PER_EMBEDDER else None

        async with self._changed:
            await self._changed.wait_for(lambda: self._failure is not None or free() is not None)
            if self._failure is not None:
                raise self._failure
            place = free()
            assert place is not None
            place.under_way += 1
            return place

    async def _give(self, place: _Place) -> None:
        async with self._changed:
            place.under_way -= 1
            place.used_at = time.monotonic()
            self._changed.notify_all()

    async def _lost(self, place: _Place) -> None:
        async with self._changed:
            if place not in self._ready:
                return  # another batch of it has noticed before
            self._ready.remove(place)
            self._deaths += 1
            log.warning("an embedder has died; its batches go to another one")
            if self._deaths >= _TRIES * self._bounds.most:
                self._failure = ModelUnavailable(
                    f"{self._deaths} embedders died one after the other: look for the cause in the "
                    "logs of Ray; it is often a lack of memory"
                )
            self._changed.notify_all()

    # -- how many ----------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        queued_since: float | None = None
        while self._failure is None:
            now = time.monotonic()
            waiting = self._asked > len(self._ready)
            queued_since = (queued_since or now) if waiting else None
            count = len(self._ready) + len(self._starting)
            busy = queued_since is not None and now - queued_since >= _BUSY_SECONDS
            if count < self._bounds.least or (
                busy and not self._starting and count < self._bounds.most
            ):
                starting = asyncio.create_task(self._start())
                self._starting.add(starting)
                starting.add_done_callback(self._starting.discard)
                queued_since = None
            await self._end_idle(now)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _start(self) -> None:
        actor = self._kind.remote(self._config, self._bounds.cpus)
        try:
            try:
                async with asyncio.timeout(_ROOM_SECONDS):
                    await actor.placed.remote()
            except TimeoutError:
                if self._ready:
                    return
                raise RayUnavailable(
                    f"no node of the Ray cluster has had room for an embedder ({self._bounds}) "
                    f"for {_ROOM_SECONDS:.0f} s: add one, or lower ingestion.ray.embedders"
                ) from None
            model = await actor.load.remote()
        except self._ray.exceptions.RayTaskError as error:
            await self._fail(_cause(error))
            return
        except self._ray.exceptions.RayActorError:
            self._deaths += 1
            if self._deaths >= _TRIES * self._bounds.most:
                await self._fail(
                    ModelUnavailable(
                        "embedders die while they load the model: look for the cause in the logs "
                        "of Ray; it is often a lack of memory"
                    )
                )
            return  # `_watch` starts the next one
        except RayUnavailable as error:
            await self._fail(error)
            return
        async with self._changed:
            self._model = self._model or model
            self._ready.append(_Place(actor))
            self._most = max(self._most, len(self._ready))
            self._changed.notify_all()

    async def _fail(self, failure: Exception) -> None:
        async with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    async def _end_idle(self, now: float) -> None:
        async with self._changed:
            if len(self._ready) <= self._bounds.least:
                return
            for place in reversed(self._ready):
                if not place.under_way and now - place.used_at > _IDLE_SECONDS:
                    self._ready.remove(place)
                    self._ray.kill(place.actor)
                    return

    def _known(self) -> Model:
        if self._failure is not None:
            raise self._failure
        assert self._model is not None
        return self._model


class RemoteEmbedder:
    """The model as a decoder sees it: pictures are prepared here, and embedded elsewhere."""

    def __init__(self, embedders: Any, model: Model) -> None:
        import ray

        self._ray = ray
        self._embedders = embedders
        self._info = model.info
        self.preprocessing = model.preprocess

    @property
    def info(self) -> EmbedderInfo:
        return self._info

    def preprocess(self, image: Any, box: Any = None) -> Any:
        return self.preprocessing(image, box)

    def embed_pixels(self, batch: Any) -> Vectors:
        """Blocks until the batch is embedded. Raises ModelError, RayUnavailable."""
        pixels = self._ray.put(np.stack(batch))
        try:
            vectors: Vectors = self._ray.get(self._embedders.embed.remote([pixels]))
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        return vectors

    def embed_texts(self, texts: Any) -> Vectors:
        raise ModelError(f"{self._info.name} embeds images alone here: an ingestion has no texts")

    def unknown_words(self, text: str) -> list[str]:
        return []

    def understands(self, text: str) -> bool:
        return False

    def left_out(self, text: str) -> str:
        return ""


def _cause(error: Any) -> Exception:
    """What was raised in the actor."""
    cause = error.cause
    return cause if isinstance(cause, Exception) else error
