"""One worker: fetch -> decode -> embed -> upsert, for the tasks it is given.

Fetching and decoding of the next images overlap with the model's work on these: reading runs in
threads, the embedder batches whatever is ready, and a bounded number of images is in memory.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lookalike_crds.config import IngestionConfig
from lookalike_crds.failures import INTERNAL
from lookalike_crds.image_collection import OnIngest
from lookalike_crds.moments import now_text
from lookalike_crds.progress import ByCause
from lookalike_crds.source_kinds import UrlsSource
from lookalike_serving.books.record import KeptFeatures, Scope
from lookalike_serving.books.store import Books
from lookalike_serving.documents.build import Kept, document, look
from lookalike_serving.documents.carrying import carried
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload, split
from lookalike_serving.documents.metadata import MetadataChecker
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.embed.execution.background import Tuning
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.embed.results import ImageFacts
from lookalike_serving.images import Code, ImageError, ImageFetcher, ImageFile, exif
from lookalike_serving.images.decode import general
from lookalike_serving.images.fetch import Validators
from lookalike_serving.images.holders import holder_of
from lookalike_serving.images.patience import HostLimits
from lookalike_serving.images.reader import Reader, for_sources
from lookalike_serving.index.protocol import (
    Decision,
    IndexFailure,
    IndexRefused,
    Point,
    PointStore,
    Record,
)
from lookalike_serving.index.remote import RemoteIndex
from lookalike_serving.ingest import models
from lookalike_serving.ingest.models import NONE_LOADED, Loaded
from lookalike_serving.ingest.pictured import with_exif
from lookalike_serving.ingest.rejections import caution_of, note_rejection
from lookalike_serving.ingest.sources import Caution, Labels
from lookalike_serving.ingest.sources.cells import Reading
from lookalike_serving.ingest.sources.rows import BadRow, RowReader, SkippedRow
from lookalike_serving.ingest.stopwatch import Stopwatch
from lookalike_serving.ingest.store import open_books, open_images, open_store
from lookalike_serving.ingest.versions import (
    Change,
    change,
    fingerprint,
    image_part,
    kept_labels,
    known_labels,
    must_be_read,
)
from lookalike_serving.ingest.work import Failure, LeftOut, Outcome, Task

LINKED = "stored as copies of other documents, as duplicates.onIngest says"

log = logging.getLogger("lookalike.ingest")


_TUNING_AFTER = 120.0
"""Seconds of work after which it pays to measure how the model computes fastest."""


class _Ready(NamedTuple):
    """A document that is to be written."""

    task: Task
    point: Point
    warnings: tuple[ByCause, ...]
    """What it lacks."""
    features: KeptFeatures | None = None
    """To be written with it."""
    image: bytes | None = None
    """If it is to be decided whether it is a copy."""


class _Unchanged(NamedTuple):
    """An image whose bytes are those of the index."""

    task: Task


class _Deleted(NamedTuple):
    """An image that somebody deleted from the collection, and that is still the same."""

    task: Task


class _Rewritten(NamedTuple):
    """A document whose metadata alone was not what it should be."""

    task: Task
    warnings: tuple[ByCause, ...]


class _LeftOut(NamedTuple):
    """An image that does not come in, as its source says: it is gone, or its labels do not fit."""

    task: Task
    caution: Caution


_Prepared = _Ready | _Unchanged | _Rewritten | _Deleted | _LeftOut


class Within(NamedTuple):
    """What a worker uses of the service that it works in, and leaves open."""

    embedder: BatchedEmbedder
    store: PointStore
    books: Books
    decide: Callable[[Point, bytes, bool], Awaitable[Decision]]
    """Writes a document unless it is a copy; True: a copy is left out."""
    copier: BatchedEmbedder | None
    """The copy model, if the collection has one."""


class Worker:
    """Holds the model and a connection to the index. Lives in one event loop."""

    def __init__(
        self,
        config: IngestionConfig,
        *,
        threads: int | None,
        ready: Loaded = NONE_LOADED,
        within: Within | None = None,
    ) -> None:
        """Loads the models that are not `ready`: seconds. `threads`: each model's CPU threads.

        `within`: works in a service. Raises ModelError.
        """
        self._collection = config.collection.name
        self._kept = Kept.by(config.collection.duplicates)
        self._checker = MetadataChecker(config.collection.fields)
        self._batch = config.ingestion.batch_size
        self._within = within
        spec = config.collection.duplicates
        self._on_ingest = OnIngest.ALLOW if spec is None else spec.on_ingest
        self._tuning: Tuning | None = None
        self._store: PointStore | None = None
        self._images: RemoteIndex | None = None
        """Of a run that carries documents over: the server, which reads their images."""
        self._books: Books | None = None
        self._books_store: PointStore | None = None
        """Where they are, if it was opened here."""
        self._opening = asyncio.Lock()
        if within is not None:
            self._embedder, self._store, self._books, _, self._copier = within
        else:
            own = ready.own or models.loaded(config, config.collection.model, threads)
            self._embedder = models.batched(config, own, threads)
            self._tuning = Tuning(
                self._embedder,
                config.collection.model,
                config.data_dir / "weights",
                random_weights=config.random_weights_for_benchmarks,
                threads=threads,
            )
            self._tuning.start(after=_TUNING_AFTER)
            self._copier = None
            if (copies := config.collection.copy_model) is not None:
                copier = ready.copier or models.loaded(config, copies, threads)
                self._copier = models.batched(config, copier, threads)
        self._config = config
        self._fetching, self._writing = Stopwatch(), Stopwatch()
        self._told: dict[str, float] = {}
        self._read = 0
        """Bytes since the last outcome."""
        self._fetcher = ImageFetcher(config.fetch)
        self._readers: dict[str, Reader] = {}
        """By source."""
        self._row_readers = {
            each.name: RowReader(
                each.metadata, config.collection.fields, each.metadata.key_column, Reading()
            )
            for each in config.sources
        }

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        """Bring the tasks' documents up to date. Raises IndexFailure and ModelError: both concern
        all of them; what concerns one image is in the outcome."""
        if self._store is None:
            copies = None if self._copier is None else self._copier.info
            self._store = await open_store(self._config, self._embedder.info, copies)
        failures: list[Failure] = []
        told: list[ByCause] = []
        new: Counter[str] = Counter()
        updated: Counter[str] = Counter()
        unchanged: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        skipped_keys: list[str] = []
        left_out: list[LeftOut] = []
        # Twice the batch: one batch in the model while the next is fetched and decoded.
        room = asyncio.Semaphore(2 * self._batch)

        async def prepared(task: Task) -> _Prepared | Failure:
            async with room:
                try:
                    return await self._prepared(task)
                except IndexRefused as refused:  # it concerns this document alone
                    kind = refused.failure_kind
                    return Failure(task.source, task.item.key, str(refused), kind.code)
                except (IndexFailure, ModelError):
                    raise
                except ImageError as error:
                    if task.item.if_gone is not None and error.code is Code.NOT_FOUND:
                        return _LeftOut(task, Caution(task.item.if_gone))
                    kind = error.failure_kind
                    return Failure(task.source, task.item.key, error.message, kind.code)
                except SkippedRow as skip:
                    return _LeftOut(task, skip.caution)
                except BadRow as bad:
                    return Failure(task.source, task.item.key, str(bad), bad.kind.code)
                except Exception as error:
                    log.exception("%s of %s failed unexpectedly", task.item.key, task.source)
                    told = f"failed unexpectedly ({type(error).__name__}): the log has the cause"
                    return Failure(task.source, task.item.key, told, INTERNAL.code)

        waiting = [asyncio.ensure_future(prepared(task)) for task in tasks]
        ready: list[_Ready] = []

        def leave_out(task: Task, caution: Caution) -> None:
            source, key = task.source, task.item.key
            skipped[source] += 1
            left_out.append(LeftOut(source, key, caution.cause, caution.example(key)))

        async def write() -> None:
            written = await self._written([each for each in ready if each.image is None], failures)
            for each in ready:
                if each.image is None:
                    continue
                decided = await self._decided(each, each.image, failures)
                if isinstance(decided, _LeftOut):
                    leave_out(*decided)
                elif decided is not None:
                    written.append(decided)
            for each in written:
                (updated if each.task.stored else new)[each.task.source] += 1
                told.extend(each.warnings)
            ready.clear()

        try:
            for done in asyncio.as_completed(waiting):
                result = await done
                if isinstance(result, Failure):
                    failures.append(result)
                    continue
                if isinstance(result, _Unchanged):
                    unchanged[result.task.source] += 1
                    continue
                if isinstance(result, _Deleted):
                    skipped[result.task.source] += 1
                    skipped_keys.append(result.task.item.key)
                    continue
                if isinstance(result, _LeftOut):
                    leave_out(*result)
                    continue
                if isinstance(result, _Rewritten):
                    updated[result.task.source] += 1
                    told.extend(result.warnings)
                    continue
                ready.append(result)
                if len(ready) >= self._batch:
                    await write()
        finally:
            for each in waiting:
                each.cancel()
        if ready:
            await write()
        read, self._read = self._read, 0
        return Outcome(
            dict(new),
            dict(updated),
            dict(unchanged),
            tuple(failures),
            tuple(told),
            skipped=dict(skipped),
            skipped_keys=tuple(skipped_keys),
            left_out=tuple(left_out),
            bytes=read,
            seconds=self._spent(),
        )

    def _spent(self) -> dict[str, float]:
        """Seconds by stage since the last call."""
        stats = [each.stats for each in (self._embedder, self._copier) if each is not None]
        now = {
            "fetch": self._fetching.seconds,
            "decode": sum(each.decode_seconds + each.preprocess_seconds for each in stats),
            "embed": sum(each.images.model_seconds for each in stats),
            "write": self._writing.seconds,
        }
        before, self._told = self._told, now
        return {stage: max(0.0, now[stage] - before.get(stage, 0.0)) for stage in now}

    async def _written(self, ready: Sequence[_Ready], failures: list[Failure]) -> list[_Ready]:
        """Write points; those that are in. One that the index refuses fails alone."""
        assert self._store is not None
        try:
            with self._writing:
                await self._write_features(ready)
                await self._store.upsert([each.point for each in ready])
        except IndexRefused as refused:
            if len(ready) == 1:
                task = ready[0].task
                kind = refused.failure_kind
                failures.append(Failure(task.source, task.item.key, str(refused), kind.code))
                return []
            return [in_ for each in ready for in_ in await self._written([each], failures)]
        return list(ready)

    async def _decided(
        self, ready: _Ready, image: bytes, failures: list[Failure]
    ) -> _Ready | _LeftOut | None:
        """Write a document unless it is a copy that is not wanted. None: it failed."""
        task, reject = ready.task, self._on_ingest is OnIngest.REJECT
        try:
            with self._writing:
                await self._write_features([ready])
                decision = await self._decide(ready.point, image, reject)
                if not decision.written and task.stored is None and ready.features is not None:
                    assert self._books is not None
                    await self._books.forget_features([ready.point.id])
        except (IndexRefused, ImageError) as error:
            told = error.message if isinstance(error, ImageError) else str(error)
            failures.append(Failure(task.source, task.item.key, told, error.failure_kind.code))
            return None
        if decision.copy_of is None:
            return ready
        if reject:
            await self._remember_rejection(task, ready.point.id, decision.copy_of)
            return _LeftOut(task, caution_of(decision.copy_of))
        caution = Caution(LINKED, f"a copy of {decision.copy_of}")
        linked = caution.counted(task.source, task.item.key)
        return ready._replace(warnings=(*ready.warnings, linked))

    async def _remember_rejection(self, task: Task, point: str, document: str) -> None:
        """If its source tells later whether it is still the same image."""
        version, books = task.item.version, await self._opened_books()
        if version is not None and books is not None:
            assert self._store is not None
            collection = self._config.collection
            await note_rejection(books, self._store, collection, point, version, document)

    async def _decide(self, point: Point, image: bytes, reject: bool) -> Decision:
        if self._within is not None:
            return await self._within.decide(point, image, reject)
        assert isinstance(self._store, RemoteIndex)  # onIngest needs an Edge index
        return await self._store.decide(point, image, reject=reject)

    async def _write_features(self, ready: Sequence[_Ready]) -> None:
        """Before the documents that say so. Those of an image that is no longer there go."""
        made = {each.point.id: each.features for each in ready if each.features is not None}
        if made:
            assert self._books is not None
            await self._books.note_features(made)
        gone = [
            each.point.id
            for each in ready
            if each.task.stored is not None
            and each.task.stored.features is not None
            and split(each.point.payload)[1].features is None
        ]
        if gone and (books := await self._opened_books()) is not None:
            await books.forget_features(gone)

    async def _opened_books(self) -> Books | None:
        """None: no records are kept."""
        async with self._opening:
            if self._books is None and self._books_store is None:
                self._books_store = store = await open_books(self._config)
                if store is not None:
                    self._books = Books(lambda: store, Scope.of(self._config.collection))
        return self._books

    async def _to_be_kept(self, point: str, image: str) -> tuple[Kept, int | None]:
        """(what is to be made of an image, the size of its features if they are there already):
        whatever model saw the image before, its features are the same."""
        if not self._kept.features:
            return self._kept, None
        books = await self._opened_books()
        known = None if books is None else await books.features_of(point, image)
        if books is None or known is not None:
            return replace(self._kept, features=False), None if known is None else len(known)
        return self._kept, None

    async def close(self) -> None:
        await self._fetcher.close()
        if self._books_store is not None:
            await self._books_store.close()
        if self._images is not None:
            await self._images.close()
        if self._within is not None:
            return
        if self._tuning is not None:
            await asyncio.to_thread(self._tuning.close)
        self._embedder.close()
        if self._copier is not None:
            self._copier.close()
        if self._store is not None:
            await self._store.close()

    async def _prepared(self, task: Task) -> _Prepared:
        """The document as it should be, unless its bytes turn out to be the stored ones."""
        item, stored = task.item, task.stored
        if task.carried is not None:
            return await self._carried(task, task.carried)
        if item.labels is not None and stored is not None:
            what = change(item, task.source, stored, self._kept)
            if what is Change.METADATA:  # the image is the same
                return await self._relabelled(task, item.labels, stored)
        known = self._known(task)
        with self._fetching:
            fetched = await self._reader_of(task.source).read_unless(item.uri, known)
        if fetched is None:  # the server says that it is still the same
            assert stored is not None
            mark = fingerprint(item, image_part(stored))
            if stored.fingerprint != mark:
                await self._rewrite(task, mark, known)
            return _Unchanged(task)
        data, validators = fetched.data, fetched.validators
        self._read += len(data)
        file = ImageFile.of(data)
        version = item.version or f"sha256:{file.sha256}"
        if task.deleted is not None and task.deleted == version:
            return _Deleted(task)
        mark = fingerprint(item, version)
        if (
            item.version is None
            and stored is not None
            and image_part(stored) == version
            and not must_be_read(item, stored, self._kept)
        ):
            if stored.fingerprint != mark or _validators_of(stored) != validators:
                await self._rewrite(task, mark, validators)
            return _Unchanged(task)
        same = stored is not None and stored.sha256 == file.sha256
        kept, features = await self._to_be_kept(
            point_id(self._collection, item.document_id), file.sha256
        )
        seen = await look(
            file,
            self._embedder,
            copier=self._copier,
            kept=kept,
            max_pixels=self._config.fetch.max_pixels,
        )
        taken, left_out = _exif(file.data, seen.facts) if item.exif else ({}, ())
        said, labels, cautions = await self._labelled(task)
        metadata, misfits = with_exif(said, taken, self._checker)
        made = document(
            self._collection,
            item.document_id,
            seen,
            metadata,
            image=item.uri,
            fingerprint=mark,
            source=task.source,
            exif=json.dumps(taken) if item.exif else None,
            labels=labels,
            validators=validators,
            before=stored,
            features=features,
            duplicate_of=stored.duplicate_of if same and stored is not None else None,
        )
        lost = (*seen.facts.warnings, *left_out, *misfits)
        warnings = (*(_lost(task, each) for each in lost), *cautions)
        decided = self._on_ingest is not OnIngest.ALLOW and not same
        return _Ready(
            task, made.point, warnings, seen.kept_features, file.data if decided else None
        )

    async def _labelled(self, task: Task) -> tuple[dict[str, Any], str | None, tuple[ByCause, ...]]:
        """(metadata with the labels of the object, the labels as they are kept, what was left out).

        Raises ImageError, BadRow and SkippedRow.
        """
        item = task.item
        if item.labels is None:
            return item.metadata, None, ()
        values = known_labels(item.labels, task.stored)
        if values is None:
            with self._fetching:
                reader = self._reader_of(task.source)
                values = await reader.labels(item.uri, item.labels.kinds)
        row_reader = self._row_readers[task.source]
        metadata, cautions = row_reader.labelled(item.metadata, item.labels.own, values)
        told = tuple(each.counted(task.source, item.key) for each in cautions)
        return metadata, kept_labels(item.labels, values), told

    async def _relabelled(self, task: Task, labels: Labels, stored: Origin) -> _Rewritten:
        """The same image with other metadata."""
        metadata, kept, told = await self._labelled(task)
        assert task.item.version is not None
        mark = fingerprint(task.item, task.item.version)
        described = replace(task, item=replace(task.item, metadata=metadata))
        assert self._store is not None
        await rewrite_payload(
            self._store, self._collection, self._checker, described, mark, labels=kept
        )
        return _Rewritten(task, told)

    async def _carried(self, task: Task, record: Record) -> _Ready:
        """A document of the former index; the server, which has the uploads, reads its image."""
        if self._images is None:
            self._images = open_images(self._config)
        with self._fetching:
            holder = holder_of(self._config.collection.index.name, record.id)
            data = await self._images.image(task.item.uri, holder)
        self._read += len(data)
        if self._kept.features:
            await self._opened_books()
        kept = self._kept if self._books is not None else replace(self._kept, features=False)
        point, seen = await carried(
            record,
            data,
            self._embedder,
            copier=self._copier,
            kept=kept,
            max_pixels=self._config.fetch.max_pixels,
        )
        return _Ready(task, point, (), seen.kept_features)

    def _known(self, task: Task) -> Validators:
        """What is to be asked of the server of an image: empty unless its bytes can be spared."""
        item, stored = task.item, task.stored
        spared = (
            stored is not None
            and item.version is None
            and task.deleted is None
            and (stored.source, stored.image) == (task.source, item.uri)
            and not must_be_read(item, stored, self._kept)
        )
        return _validators_of(stored) if spared and stored is not None else Validators()

    def _reader_of(self, source: str) -> Reader:
        if source not in self._readers:
            kinds = (each.kind for each in self._config.sources if each.name == source)
            kind = next(kinds, None)
            limits = HostLimits()
            if isinstance(kind, UrlsSource):
                limits = HostLimits(kind.host_concurrency, kind.host_requests_per_second)
            self._readers[source] = for_sources(self._fetcher, self._config.buckets, limits)
        return self._readers[source]

    async def _rewrite(self, task: Task, mark: str, validators: Validators) -> None:
        assert self._store is not None
        await rewrite_payload(self._store, self._collection, self._checker, task, mark, validators)


def _validators_of(stored: Origin) -> Validators:
    return Validators(stored.etag, stored.last_modified)


async def rewrite_payload(
    store: PointStore,
    collection: str,
    checker: MetadataChecker,
    task: Task,
    mark: str,
    validators: Validators = Validators(),
    *,
    labels: str | None = None,
) -> None:
    """New metadata for an image that is still the same one: nothing is embedded."""
    assert task.stored is not None
    item = task.item
    taken = task.stored.exif if item.exif else None
    was = (task.stored.image, task.stored.fingerprint, task.stored.labels)
    same = was == (item.uri, mark, labels)
    origin = replace(
        task.stored,
        image=item.uri,
        fingerprint=mark,
        exif=taken,
        labels=labels,
        etag=validators.etag,
        last_modified=validators.last_modified,
        updated_at=task.stored.updated_at if same else now_text("milliseconds"),
    )
    metadata, _ = with_exif(item.metadata, json.loads(taken or "{}"), checker)
    await store.replace_payload(point_id(collection, item.document_id), payload(metadata, origin))


def _exif(data: bytes, facts: ImageFacts) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(what the picture tells of itself, what of it cannot be used)."""
    values, left_out = exif.read(data if facts.format == "TIFF" else facts.exif)
    return {**values, "width": facts.width, "height": facts.height}, left_out


def _lost(task: Task, warning: str) -> ByCause:
    """What was lost when an image was decoded."""
    return ByCause(cause=general(warning), source=task.source, example=task.item.key)
