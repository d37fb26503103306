"""Many requests, one model: requests that arrive together are embedded together.

    embed_image -> pool of a few threads: decode, preprocess -> image queue \\
                                                                   model thread -> futures
    embed_text  ----------------------------------------------> text queue  /

One thread owns the model; the event loop never waits for it. If the model is idle, a request starts
at once and does not wait for others. While the model is busy, requests queue up, and the next batch
takes all of them, up to `max_batch`: under load, batches grow by themselves. Images and texts take
turns, so that a queue of slow images cannot starve fast texts.

On a CPU the model and the rest of a request share processors, so running one half of the callers
through the model while the other half is answered gains nothing, and halves the batches. There, the
model waits a moment for the callers of the batch that it has just answered (`_await_callers`).

An item fails alone: a batch that fails is run again item by item. A request that is cancelled is
dropped wherever it waits. `max_waiting` and `longest_wait` limit the requests in progress
(`admission.py`); beyond them, callers get `Overloaded` at once instead of a timeout later.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from lookalike_serving.embed.admission import Admission, Kind
from lookalike_serving.embed.execution.ways import Execution
from lookalike_serving.embed.memory import Memory, digest
from lookalike_serving.embed.protocol import (
    Embedder,
    EmbedderInfo,
    ModelError,
    ModelUnavailable,
    Pixels,
    Tensor,
)
from lookalike_serving.embed.results import (
    Embedded,
    ImageFacts,
    KindStats,
    Stats,
    Timings,
    Vector,
)
from lookalike_serving.images.decode import DEFAULT_MAX_PIXELS, decode_image, is_ordinary
from lookalike_serving.machine.cpus import usable_cpus

_GAP_SECONDS = 0.008
"""The model waits for callers as long as one returns within this time, in seconds."""
_PATIENCE = 0.5
"""The longest wait, as a fraction of the time that their batch took."""
_NONE_YET = Timings()


@dataclass(slots=True)
class _Item:
    """One request in progress. Only one thread uses it at a time."""

    kind: Kind
    source: bytes | Pixels | str
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Embedded]
    arrived: float
    tensor: Tensor | None = None
    facts: ImageFacts | None = None
    timings: Timings = _NONE_YET
    answered: bool = False
    remembered: bool = False
    """Whether it is an image that may be known already, and is to be known from now on."""
    digest: str | None = None
    apart: bool = False
    """Whether it is an image that takes long to decode, which ordinary ones must not wait for."""


@dataclass(slots=True)
class _Tally:
    items: int = 0
    failed: int = 0
    batches: int = 0
    model_seconds: float = 0.0
    sizes: Counter[int] = field(default_factory=Counter)


class BatchedEmbedder:
    """An asynchronous interface to an `Embedder`. Usable from any event loop; close it when done.

    `threads` threads decode and preprocess; if it is None, one for each usable CPU, at most 4.
    `text_cache` and `image_cache` are the numbers of texts and of images whose vectors are
    remembered; 0, the default, remembers none. Images are known again by the bytes of their files,
    and only if they are queries: documents are embedded once and would drive the queries out.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_batch: int = 32,
        max_waiting: int = 1024,
        longest_wait: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        threads: int | None = None,
        text_cache: int = 0,
        image_cache: int = 0,
    ) -> None:
        self._embedder = embedder
        self._info = embedder.info
        self._max_batch = max_batch
        self._admission = Admission(max_waiting, longest_wait)
        self._max_pixels = max_pixels
        self._min_side = embedder.info.min_side
        self._shares_processors = embedder.info.device == "cpu"
        self._texts, self._images = Memory(text_cache), Memory(image_cache)

        # Guards everything below; held only for moments, never while decoding or embedding.
        self._changed = threading.Condition()
        self._queues: dict[Kind, deque[_Item]] = {kind: deque() for kind in Kind}
        self._tallies = {kind: _Tally() for kind in Kind}
        self._seconds = {"decode": 0.0, "preprocess": 0.0, "wait": 0.0}
        self._turn = Kind.TEXT
        self._awaited = (0, 0.0)  # how many will wait once the last batch's callers are back; until
        self._closed = False

        self._pool = ThreadPoolExecutor(threads or min(4, usable_cpus()), "lookalike-decode")
        self._unusual = ThreadPoolExecutor(max(1, usable_cpus() // 2), "lookalike-unusual")
        self._model_thread = threading.Thread(
            target=self._run_model, name="lookalike-model", daemon=True
        )
        self._model_thread.start()

    @property
    def info(self) -> EmbedderInfo:
        return self._info

    def continue_with(self, embedder: Embedder) -> None:
        """From the next batch on, compute with another embedder of the same model.

        Usable from any thread. Raises ValueError if the vectors of both cannot be compared.
        """
        if embedder.info.fingerprint != self._info.fingerprint:
            raise ValueError(f"{embedder.info.name} is another model than {self._info.name}")
        self._embedder, self._info = embedder, embedder.info

    def tell(self, execution: Execution) -> None:
        """What was measured, if that changes nothing about how it computes."""
        self._info = replace(self._info, execution=execution)

    def unknown_words(self, text: str) -> list[str]:
        return self._embedder.unknown_words(text)

    def understands(self, text: str) -> bool:
        """Whether the model knows any word of `text`."""
        return self._embedder.understands(text)

    def left_out(self, text: str) -> str:
        """The end of `text` that the model does not read; empty if it reads all of it."""
        return self._embedder.left_out(text)

    # --- what callers ask -----------------------------------------------------------------

    async def embed_image(self, image: bytes | Pixels) -> Vector:
        """(d,) of one image: a file's bytes, or (h, w, 3) uint8 RGB pixels.

        Raises ImageError if it cannot be decoded, ModelError, Overloaded.
        """
        return (await self.embed_image_timed(image)).vector

    async def embed_text(self, text: str) -> Vector:
        """(d,) of one text. Raises ModelError if the model reads no texts, Overloaded."""
        return (await self.embed_text_timed(text)).vector

    async def embed_image_timed(self, image: bytes | Pixels, *, query: bool = False) -> Embedded:
        """Like `embed_image`, with the timings and what decoding found out.

        `query`: the image may well be sent again, so that its vector is remembered.
        """
        (item,) = self._submit(Kind.IMAGE, [image], remembered=query)
        return await item.future

    async def embed_text_timed(self, text: str) -> Embedded:
        """Like `embed_text`, with the timings."""
        if (hit := self._texts.recall(text)) is not None:
            return hit
        (item,) = self._submit(Kind.TEXT, [text])
        return await item.future

    async def embed_images(self, images: Sequence[bytes | Pixels]) -> list[Embedded | Exception]:
        """Embed many images. Results are in order; a failed image has its exception in its place.

        Raises Overloaded if not all of them can be accepted.
        """
        return await self._all(self._submit(Kind.IMAGE, images))

    async def embed_texts(self, texts: Sequence[str]) -> list[Embedded | Exception]:
        """Embed many texts, as `embed_images` does."""
        hits = [self._texts.recall(text) for text in texts]
        missing = [text for text, hit in zip(texts, hits, strict=True) if hit is None]
        fresh = iter(await self._all(self._submit(Kind.TEXT, missing)))
        return [next(fresh) if hit is None else hit for hit in hits]

    @property
    def stats(self) -> Stats:
        with self._changed:
            kinds = {
                kind: KindStats(
                    waiting=len(self._queues[kind]),
                    items=tally.items,
                    failed=tally.failed,
                    batches=tally.batches,
                    model_seconds=tally.model_seconds,
                    batch_sizes=dict(tally.sizes),
                )
                for kind, tally in self._tallies.items()
            }
            return Stats(
                images=kinds[Kind.IMAGE],
                texts=kinds[Kind.TEXT],
                under_way=self._admission.under_way,
                overloaded=self._admission.refused,
                decode_seconds=self._seconds["decode"],
                preprocess_seconds=self._seconds["preprocess"],
                wait_seconds=self._seconds["wait"],
                cache_hits=self._texts.hits + self._images.hits,
            )

    def close(self) -> None:
        """Finish the running batch, fail what waits, end the threads. Idempotent."""
        with self._changed:
            self._closed = True
            abandoned = [item for queue in self._queues.values() for item in queue]
            for queue in self._queues.values():
                queue.clear()
            self._changed.notify()
        for item in abandoned:
            self._fail(item, _closed())
        self._pool.shutdown(wait=True)
        self._unusual.shutdown(wait=True, cancel_futures=True)
        self._model_thread.join()

    async def __aenter__(self) -> BatchedEmbedder:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    # --- on the event loop ----------------------------------------------------------------

    def _submit(
        self, kind: Kind, sources: Sequence[bytes | Pixels | str], *, remembered: bool = False
    ) -> list[_Item]:
        loop = asyncio.get_running_loop()
        now = time.perf_counter()
        items = [
            _Item(kind, source, loop, loop.create_future(), now, remembered=remembered)
            for source in sources
        ]
        with self._changed:
            if self._closed:
                raise _closed()
            self._admission.enter(kind, len(items))
            if kind is Kind.TEXT:
                self._queues[kind].extend(items)
                self._changed.notify()
        if kind is Kind.IMAGE:
            for item in items:
                try:
                    self._pool.submit(self._prepare, item)
                except RuntimeError:  # closed since we looked
                    self._fail(item, _closed())
        return items

    @staticmethod
    async def _all(items: list[_Item]) -> list[Embedded | Exception]:
        answers = await asyncio.gather(*(item.future for item in items), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        return [a for a in answers if isinstance(a, Embedded | Exception)]

    # --- in the pool ----------------------------------------------------------------------

    def _prepare(self, item: _Item) -> None:
        """Decode and preprocess, then hand over to the model thread directly."""
        if item.future.cancelled():
            self._forget(item)
            return
        if self._closed:
            self._fail(item, _closed())
            return
        try:
            start = time.perf_counter()
            if isinstance(item.source, bytes):
                if item.remembered and self._images.size and item.digest is None:
                    item.digest = digest(item.source)
                    if (hit := self._images.recall(item.digest)) is not None:
                        self._answer(item, hit)
                        return
                if not item.apart and not is_ordinary(item.source, self._min_side):
                    item.apart = True
                    self._unusual.submit(self._prepare, item)
                    return
                image = decode_image(
                    item.source, min_side=self._min_side, max_pixels=self._max_pixels
                )
                pixels, box = image.pixels, image.box
                item.facts = ImageFacts(
                    image.width, image.height, image.format, image.warnings, image.exif
                )
            else:
                assert not isinstance(item.source, str)
                pixels, box = item.source, None
                item.facts = ImageFacts(pixels.shape[1], pixels.shape[0], None)
            decoded = time.perf_counter()
            item.tensor = self._embedder.preprocess(pixels, box)
            ready = time.perf_counter()
        except Exception as error:
            self._fail(item, error)
            return
        item.source = b""  # the file may be large, and the queue long
        item.timings = Timings(
            decode_ms=(decoded - start) * 1e3,
            preprocess_ms=(ready - decoded) * 1e3,
            wait_ms=(start - item.arrived) * 1e3,
        )
        item.arrived = ready
        with self._changed:
            self._seconds["decode"] += decoded - start
            self._seconds["preprocess"] += ready - decoded
            if not self._closed:
                self._queues[Kind.IMAGE].append(item)
                self._changed.notify()
                return
        self._fail(item, _closed())

    # --- in the model thread --------------------------------------------------------------

    def _run_model(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._embed(batch)

    def _next_batch(self) -> list[_Item] | None:
        """The waiting items of the kind whose turn it is; None once closed."""
        with self._changed:
            if self._shares_processors:
                self._await_callers()
            while not self._closed and not any(self._queues.values()):
                self._changed.wait()
            if self._closed:
                return None
            kind = self._turn if self._queues[self._turn] else self._turn.other
            self._turn = kind.other
            queue = self._queues[kind]
            taken = [queue.popleft() for _ in range(min(self._max_batch, len(queue)))]
        wanted = []
        for item in taken:
            if item.future.cancelled():
                self._forget(item)
            else:
                wanted.append(item)
        return wanted

    def _await_callers(self) -> None:
        """Wait until the last batch's callers are back, one is late, or waiting no longer pays.

        Called with the lock held.
        """
        awaited, deadline = self._awaited
        self._awaited = (0, 0.0)
        waiting = self._waiting()
        while not self._closed and waiting < min(awaited, self._max_batch):
            left = min(_GAP_SECONDS, deadline - time.perf_counter())
            if left <= 0:
                return
            self._changed.wait(left)
            if self._waiting() <= waiting:
                return
            waiting = self._waiting()

    def _waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    def _embed(self, batch: list[_Item]) -> None:
        start = time.perf_counter()
        try:
            vectors = self._call(batch)
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch[0], _as_model_error(error, self.info))
            else:
                # One of them fails; run separately, only that one fails.
                for item in batch:
                    self._embed([item])
            return
        now = time.perf_counter()
        seconds = now - start
        tally = self._tallies[batch[0].kind]
        with self._changed:
            tally.items += len(batch)
            tally.batches += 1
            tally.model_seconds += seconds
            tally.sizes[len(batch)] += 1
            self._admission.took(batch[0].kind, len(batch), seconds)
            if len(batch) > 1:  # a single caller has nobody to wait for
                self._awaited = (len(batch) + self._waiting(), now + _PATIENCE * seconds)
            self._seconds["wait"] += sum(
                start - item.arrived + item.timings.wait_ms / 1e3 for item in batch
            )
        for item, vector in zip(batch, vectors, strict=True):
            timings = replace(
                item.timings,
                wait_ms=item.timings.wait_ms + (start - item.arrived) * 1e3,
                model_ms=seconds * 1e3,
                batch=len(batch),
            )
            answer = Embedded(vector, timings, item.facts)
            if isinstance(item.source, str):
                self._texts.remember(item.source, answer)
            elif item.digest is not None:
                self._images.remember(item.digest, answer)
            self._answer(item, answer)

    def _call(self, batch: list[_Item]) -> NDArray[np.float32]:
        if batch[0].kind is Kind.TEXT:
            return self._embedder.embed_texts([str(item.source) for item in batch])
        return self._embedder.embed_pixels(
            [item.tensor for item in batch if item.tensor is not None]
        )

    # --- answers, from any thread ---------------------------------------------------------

    def _answer(self, item: _Item, answer: Embedded | Exception) -> None:
        self._forget(item)

        def deliver() -> None:
            if item.future.done():  # cancelled meanwhile
                return
            if isinstance(answer, Embedded):
                item.future.set_result(answer)
            else:
                item.future.set_exception(answer)

        # A caller whose event loop has ended cannot be answered.
        with contextlib.suppress(RuntimeError):
            item.loop.call_soon_threadsafe(deliver)

    def _fail(self, item: _Item, error: Exception) -> None:
        with self._changed:
            self._tallies[item.kind].failed += 1
        self._answer(item, error)

    def _forget(self, item: _Item) -> None:
        with self._changed:
            if not item.answered:
                item.answered = True
                self._admission.leave(item.kind)


def _as_model_error(error: Exception, info: EmbedderInfo) -> ModelError:
    if isinstance(error, ModelError):
        return error
    wrapped = ModelUnavailable(
        f"{info.name} failed on {info.device} with {type(error).__name__}: see the log"
    )
    wrapped.__cause__ = error
    return wrapped


def _closed() -> ModelError:
    return ModelUnavailable("the embedder is closed: the server is shutting down")
