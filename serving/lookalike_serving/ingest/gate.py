"""What `spec.model.gate` asks of a changed model, measured before its index answers.

    queries  ->  the ten best of the new index, beside those of the former one  ->  figures

Queries are documents of the collection, or judgments that a person wrote:

- overlap: how many of the former model's ten best results are among the new model's ten best;
- recall: how many relevant documents are among the new model's ten best. Without judgments, the
  query is a part of a document's image, and only this document is relevant;
- latency factor: how many times as long the new model takes to embed one query, by the medians of
  both, in this process and by turns.

Of a collection of fewer than a hundred documents, the best tenth is compared instead of the ten
best. The former model is loaded only for what needs it: latency, and overlap over judgments.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike_crds.config import CarryOver, IngestionConfig
from lookalike_crds.image_collection import GateSpec, ModelSpec
from lookalike_crds.judgments import Judgment, WrongJudgments, read_judgments
from lookalike_crds.progress import GateResult
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import RESERVED, split
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.embed.protocol import Embedder, ModelError, Pixels
from lookalike_serving.images import ImageError
from lookalike_serving.images.decode import decode_image
from lookalike_serving.images.holders import holder_of
from lookalike_serving.images.reader import Reader
from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.protocol import Index, PointStore, Query, Vector
from lookalike_serving.index.remote import RemoteIndex
from lookalike_serving.ingest import models
from lookalike_serving.problems import Problem

_BEST = 10
"""How many results of a query are compared, and at most the best of so many documents each."""
_PAGE = 1000
_PART = 0.7
"""The share of each side that an edited image keeps."""
_TIMED = 20
"""Queries that each model embeds for the latency."""
_SEED = 20


@dataclass(frozen=True, slots=True)
class _Asked:
    """One query: a vector for each model, or what to embed."""

    content: str | Pixels | None
    """A text, or an image; None: the vectors of a stored document are the query."""
    document: str | None
    """The point of the query itself, which is no result; None if it is none."""
    relevant: frozenset[str]
    """Points."""
    filter: Filter | None = None


class Gate:
    """One measurement. `store` is the new index, `former` the one that answers; `images` reads the
    images of documents, `reader` those that judgments name."""

    def __init__(
        self,
        config: IngestionConfig,
        carry: CarryOver,
        asked: GateSpec,
        former: PointStore,
        store: PointStore,
        images: RemoteIndex,
        reader: Reader,
        embedder: Embedder | None,
    ) -> None:
        self._config = config
        self._carry = carry
        self._spec = asked
        self._former = former
        self._store = store
        self._images = images
        self._reader = reader
        self._loaded = embedder
        self._best_of = _BEST
        self._new: BatchedEmbedder | None = None
        self._old: BatchedEmbedder | None = None

    async def measure(self) -> GateResult:
        """Raises IndexFailure, ModelError."""
        try:
            return await self._measured()
        except WrongJudgments as wrong:
            return GateResult(passed=False, queries=0, told=f"spec.model.gate.judgments: {wrong}")
        finally:
            for each in (self._new, self._old):
                if each is not None:
                    await asyncio.to_thread(each.close)

    async def _measured(self) -> GateResult:
        spec, judged = self._spec, self._spec.judgments is not None
        # Among the ten best of twenty documents, half of a blind model's results are right.
        self._best_of = max(1, min(_BEST, await self._former.count() // _BEST))
        queries = await (self._judged() if judged else self._sampled())
        overlap = recall = factor = None
        if spec.min_overlap is not None:
            overlap = await self._mean(queries, self._overlap)
        if spec.min_recall is not None:
            recall = await self._mean(queries, self._recall)
        if spec.max_latency_factor is not None:
            factor = await self._latency_factor(queries)
        return verdict(spec, len(queries), overlap, recall, factor)

    # -- queries -----------------------------------------------------------------------------------

    async def _judged(self) -> list[_Asked]:
        file = Path(str(self._spec.judgments))
        judgments = await asyncio.to_thread(read_judgments, file)
        if len(judgments) > self._spec.queries:
            judgments = random.Random(_SEED).sample(judgments, self._spec.queries)
        return [await self._of(each, file) for each in judgments]

    async def _of(self, judgment: Judgment, file: Path) -> _Asked:
        """Raises WrongJudgments."""
        name = self._config.collection.name
        try:
            filter = parse_filters(judgment.filters)
        except Problem as problem:
            raise WrongJudgments(file, f"line {judgment.line}: {problem}") from None
        relevant = frozenset(point_id(name, each) for each in judgment.relevant)
        match judgment.kind:
            case "document":
                point = point_id(name, judgment.value)
                return _Asked(None, point, relevant, filter)
            case "text":
                return _Asked(judgment.value, None, relevant, filter)
            case "image":
                try:
                    if "://" in judgment.value:
                        data = await self._reader.read(judgment.value)
                    else:
                        data = await asyncio.to_thread(Path(judgment.value).read_bytes)
                    return _Asked(await self._pixels(data), None, relevant, filter)
                except (OSError, ImageError) as error:
                    told = f"line {judgment.line}: image {judgment.value}: {error}"
                    raise WrongJudgments(file, told) from None

    async def _sampled(self) -> list[_Asked]:
        """Documents of both indexes, chosen evenly and the same ones each time."""
        ids: list[str] = []
        start: str | None = None
        while True:
            page = await self._former.scroll(limit=_PAGE, after=start, with_payload=False)
            ids += [each.id for each in page.records]
            if page.next is None:
                break
            start = page.next
        chosen = random.Random(_SEED).sample(ids, min(self._spec.queries, len(ids)))
        there = await self._store.retrieve(chosen, with_payload=False) if chosen else []
        return [_Asked(None, each.id, frozenset({each.id})) for each in there]

    async def _pixels(self, data: bytes) -> Pixels:
        """Raises ImageError."""
        most = self._config.fetch.max_pixels
        return (await asyncio.to_thread(decode_image, data, max_pixels=most)).pixels

    async def _part_of(self, point: str) -> Pixels | None:
        """The middle of a document's image; None if that cannot be read."""
        records = await self._former.retrieve([point], with_payload=(RESERVED,))
        if not records or RESERVED not in records[0].payload:
            return None
        address = split(records[0].payload)[1].image
        holder = holder_of(self._config.collection.index.name, point)
        try:
            pixels = await self._pixels(await self._images.image(address, holder))
        except ImageError:
            return None
        height, width = pixels.shape[:2]
        top, left = int(height * (1 - _PART) / 2), int(width * (1 - _PART) / 2)
        part: Pixels = pixels[top : height - top, left : width - left]
        return part

    # -- figures -----------------------------------------------------------------------------------

    async def _mean(
        self, queries: Sequence[_Asked], figure: Callable[[_Asked], Awaitable[float | None]]
    ) -> float | None:
        """Over the queries of which it is known; None if it is of none."""
        known = [found for each in queries if (found := await figure(each)) is not None]
        return round(statistics.fmean(known), 4) if known else None

    async def _overlap(self, query: _Asked) -> float | None:
        new = await self._new_vector(query)
        old = await self._old_vector(query)
        if new is None or old is None:
            return None
        before = await self._best(self._former, old, query)
        if not before:
            return None
        after = await self._best(self._store, new, query)
        return len(set(before) & set(after)) / len(before)

    async def _recall(self, query: _Asked) -> float | None:
        vector: Vector | None
        if self._spec.judgments is None:
            assert query.document is not None
            part = await self._part_of(query.document)
            vector = None if part is None else await (await self._newly()).embed_image(part)
            query = _Asked(None, None, query.relevant)
        else:
            vector = await self._new_vector(query)
        if vector is None:
            return None
        found = set(await self._best(self._store, vector, query))
        return len(found & query.relevant) / min(len(query.relevant), self._best_of)

    async def _latency_factor(self, queries: Sequence[_Asked]) -> float | None:
        contents: list[str | Pixels] = []
        for query in queries:
            content = query.content
            if content is None and query.document is not None:
                content = await self._part_of(query.document)
            if content is not None:
                contents.append(content)
            if len(contents) == _TIMED:
                break
        if not contents:
            return None
        new, old = await self._newly(), await self._formerly()
        await _seconds(new, contents[0]), await _seconds(old, contents[0])
        pairs = [(await _seconds(new, each), await _seconds(old, each)) for each in contents]
        medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
        return float(round(medians[0] / medians[1], 4))

    # -- vectors -----------------------------------------------------------------------------------

    async def _new_vector(self, query: _Asked) -> Vector | None:
        if query.content is None:
            return await _stored(self._store, query.document)
        return await _embedded(await self._newly(), query.content)

    async def _old_vector(self, query: _Asked) -> Vector | None:
        if query.content is None:
            return await _stored(self._former, query.document)
        return await _embedded(await self._formerly(), query.content)

    async def _newly(self) -> BatchedEmbedder:
        if self._new is None:
            model = self._config.collection.model
            self._new = BatchedEmbedder(self._loaded or await self._load(model))
        return self._new

    async def _formerly(self) -> BatchedEmbedder:
        if self._old is None:
            self._old = BatchedEmbedder(await self._load(self._carry.model))
        return self._old

    async def _load(self, model: ModelSpec) -> Embedder:
        return await asyncio.to_thread(models.loaded, self._config, model)

    async def _best(self, index: PointStore, vector: Vector, query: _Asked) -> list[str]:
        """The best, without the query itself."""
        limit = self._best_of + (query.document is not None)
        found = await _nearest(index, vector, limit, query.filter)
        return [each for each in found if each != query.document][: self._best_of]


def verdict(
    spec: GateSpec,
    queries: int,
    overlap: float | None,
    recall: float | None,
    factor: float | None,
) -> GateResult:
    """Whether the figures are what the spec asks, in words too.

    A figure that could not be measured does not pass, unless there was no query at all: then the
    collection has no documents that the change could harm.
    """
    told: list[str] = []
    passed = True

    def judge(name: str, got: float | None, wanted: float | None, least: bool) -> None:
        nonlocal passed
        if wanted is None:
            return
        asked = f"at {'least' if least else 'most'} {wanted:g}"
        if got is None:
            passed = passed and not queries
            told.append(f"{name} could not be measured ({asked} is asked)")
            return
        passed = passed and (got >= wanted if least else got <= wanted)
        told.append(f"{name} {got:.2f} ({asked} is asked)")

    judge("overlap", overlap, spec.min_overlap, True)
    judge("recall", recall, spec.min_recall, True)
    judge("latency factor", factor, spec.max_latency_factor, False)
    how = "passed" if passed else "did not pass"
    figures = ", ".join(told) or "it asks for nothing"
    return GateResult(
        passed=passed,
        queries=queries,
        overlap=overlap,
        recall=recall,
        latency_factor=factor,
        told=f"the new model {how} spec.model.gate over {queries} queries: {figures}",
    )


async def _stored(index: PointStore, point: str | None) -> Vector | None:
    if point is None:
        return None
    records = await index.retrieve([point], with_payload=False, with_vector=True)
    return records[0].vector if records else None


async def _embedded(model: BatchedEmbedder, content: str | Pixels) -> Vector | None:
    """None of a text for a model that reads none: it finds nothing."""
    if not isinstance(content, str):
        return await model.embed_image(content)
    if not model.info.supports_text:
        return None
    return await model.embed_text(content)


async def _seconds(model: BatchedEmbedder, content: str | Pixels) -> float:
    start = time.perf_counter()
    if await _embedded(model, content) is None:
        raise ModelError(
            f"{model.info.name} reads no texts, and the judgments of spec.model.gate are texts: "
            "write judgments with images"
        )
    return time.perf_counter() - start


async def _nearest(
    index: PointStore, vector: Vector, limit: int, filter: Filter | None
) -> list[str]:
    if isinstance(index, RemoteIndex):
        return await index.nearest(vector, limit, filter)
    searched: Index = index  # type: ignore[assignment]  # every store but a remote one
    hits = await searched.query(Query(vector, limit, filter=filter, with_payload=False))
    return [hit.id for hit in hits]
