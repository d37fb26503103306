"""Everything that one serving process holds: models, indexes, images, keys.

`Service.start` opens what the configuration names. Each distinct model is loaded once, however many
collections use it. A collection that fails to open – because of a model without weights or an index
server that is down – does not affect the others: its routes answer 503 with the reason, and the
service tries to open it again in the background.

Nothing here knows HTTP; the gateway, the batches and the search pipeline all use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from cachetools import LRUCache, TTLCache

from lookalike_crds.backoff import Backoff
from lookalike_crds.config import (
    CollectionConfig,
    IndexConfig,
    LightConfig,
    RetrieverConfig,
    ServingConfig,
    light_of,
    with_light,
)
from lookalike_crds.failures import (
    BATCHES_UNAVAILABLE,
    COLLECTION_UNAVAILABLE,
    INTERNAL,
    MODEL_UNAVAILABLE,
    NOT_FOUND,
    FailureKind,
    Part,
    Retry,
)
from lookalike_crds.image_collection import ModelSpec
from lookalike_crds.lost import what_was_lost
from lookalike_crds.naming import described
from lookalike_serving.books.record import Scope
from lookalike_serving.books.store import Books, delete_all
from lookalike_serving.closing import Closing
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.failures import kind_of
from lookalike_serving.following import follow
from lookalike_serving.images import ImageFetcher, ImageStore
from lookalike_serving.images.buckets import Buckets
from lookalike_serving.images.reader import for_callers
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.open import open_index, open_payload_index
from lookalike_serving.index.protocol import (
    Index,
    IndexFailure,
    IndexMismatch,
    IndexUnavailable,
    Query,
    Record,
    Vector,
)
from lookalike_serving.index.spaces import CopySpace
from lookalike_serving.index.unfit import retyped_warnings
from lookalike_serving.indexes.hashes import StoredHashes, check_installed
from lookalike_serving.indexes.left_behind import Kept, remove_former
from lookalike_serving.indexes.remembered import remember, remembered
from lookalike_serving.indexes.removed import noted, settle
from lookalike_serving.indexes.superseded import check_nothing_left
from lookalike_serving.machine.cpus import usable_cpus
from lookalike_serving.machine.disk import read_only
from lookalike_serving.models import Models
from lookalike_serving.problems import Problem

log = logging.getLogger("lookalike.service")

_REOPENING = Backoff(base=2.0, cap=60.0)
_REMEMBER_SECONDS = 60.0
_OPENING_SECONDS = 120.0
"""How long the index and the model of a changed collection may take to open."""
_LOCK_STRIPES = 256
_REMEMBERED_PICTURES = 64
"""Of about 700 KiB each."""
CALIBRATION_SECONDS = 10.0
"""How long a calibration is used before it is read again: another pod may have stored a new one."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CollectionState:
    """One open collection."""

    config: CollectionConfig
    index: Index
    embedder: BatchedEmbedder
    hashes: StoredHashes
    copier: BatchedEmbedder | None = None
    """The copy model, if the collection has one."""

    @property
    def models(self) -> tuple[BatchedEmbedder, ...]:
        return (self.embedder,) if self.copier is None else (self.embedder, self.copier)

    @property
    def finder(self) -> BatchedEmbedder:
        """The model by which copies are found."""
        return self.copier or self.embedder

    def near(
        self,
        vector: Vector,
        limit: int,
        filter: Filter | None = None,
        min_score: float | None = None,
    ) -> Query:
        """A query for the nearest documents to a vector of `finder`, by their ids."""
        return Query(
            vector,
            limit=limit,
            filter=filter,
            min_score=min_score,
            with_payload=False,
            of_copies=self.copier is not None,
        )

    def found_by(self, record: Record) -> Vector | None:
        """The vector of `finder` that a record holds, if vectors were asked for."""
        return record.vector if self.copier is None else record.copies

    @property
    def name(self) -> str:
        return self.config.name


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a part is not open."""

    reason: str
    kind: FailureKind = INTERNAL

    @classmethod
    def of(cls, error: Exception) -> Failure:
        return cls(str(error), kind_of(error))

    @property
    def unreachable(self) -> bool:
        """The engine of its index cannot be reached, which may pass by itself."""
        return self.kind.part is Part.INDEX and self.kind.retry is Retry.LATER

    @property
    def may_pass(self) -> bool:
        """Nobody needs to change anything for it to be opened at a later attempt."""
        # A model that fails while it runs is helped by a restart, if by anything.
        return self.kind.retry is Retry.LATER and self.kind is not MODEL_UNAVAILABLE

    def __str__(self) -> str:
        return self.reason


class Service:
    """Everything that a serving process holds. Created by `start`, ended by `close`."""

    def __init__(self, config: ServingConfig) -> None:
        self.config = config
        """Its light part may be replaced at any time: see `take`."""
        self.collections: dict[str, CollectionState] = {}
        self.filling: dict[str, CollectionState] = {}
        """Collections that continue with another index once it is filled: see adoption.py."""
        self.failures: dict[str, Failure] = {}
        """Collections that are not open, and why."""
        self.fetcher = ImageFetcher(config.fetch)
        self.buckets = Buckets(config.buckets, config.fetch.max_bytes, discreet=True)
        self.reader = for_callers(self.fetcher, self.buckets)
        """Reads what callers name."""
        self.images = ImageStore(
            config.data_dir, config.image_roots, self.fetcher, buckets=self.buckets
        )
        self._models = Models(
            config.data_dir / "weights",
            max_pixels=config.fetch.max_pixels,
            random_weights=config.random_weights_for_benchmarks,
        )
        self.models: Mapping[ModelSpec, BatchedEmbedder] = self._models.loaded
        self.reopening: set[str] = set()
        """Collections that are about to be opened, which the background does not try."""
        self.pictures: LRUCache[str, Any] = LRUCache(_REMEMBERED_PICTURES)
        """Pictures of documents that were compared lately: see copies/find.py."""
        self.calibrations: TTLCache[str, Any] = TTLCache(1024, CALIBRATION_SECONDS)
        """Of retrievers, as they were read last: see search/calibration.py."""
        self.lost: dict[str, str] = {}
        """Reports about collections whose index had documents and was empty when it was opened."""
        self._batches: Index | None = None
        self.batches_failure: Failure | None = Failure("not opened yet", BATCHES_UNAVAILABLE)
        """Why batch records cannot be kept; None if they can."""
        self._books: dict[IndexConfig, Index] = {}
        """The indexes of records that are not stored with the batches."""
        self._opening_books = asyncio.Lock()
        self._canaries: dict[str, Vector] = {}
        self._threads = ThreadPoolExecutor(max(2, usable_cpus()), "service")
        self._document_locks = [asyncio.Lock() for _ in range(_LOCK_STRIPES)]
        self._reopening: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._remembering: asyncio.Task[None] | None = None
        self.not_switched: dict[str, str] = {}
        """Collections that answer as before, since what is to answer, or to be filled, cannot be
        opened, and why."""
        self.closing = Closing()
        """Indexes and models that nothing uses any more."""
        self._opening: asyncio.Task[None] | None = None
        """Opens other indexes, while it runs, that are to answer or to be filled."""
        self._changed = asyncio.Event()
        """Other indexes are to answer or to be filled."""

    @classmethod
    async def start(cls, config: ServingConfig, config_file: Path | None = None) -> Service:
        """Open everything. Raises ValueError for a config that must not be served at all.

        What changes in `config_file` from then on is taken over as far as that is possible.
        """
        refuse_open_doors(config)
        with_light(config, light_of(config))  # raises where a retriever searches what is not there
        service = cls(config)
        await service.open_told()
        await service._delete_records_of_removed()
        if config_file is not None:
            service._following = asyncio.create_task(follow(config_file, service))
        service._remembering = asyncio.create_task(service._remember())
        service._follow_indexes()
        return service

    async def close(self) -> None:
        """Stop models, close indexes (an Edge index gives its lock back), drop connections."""
        for task in (self._reopening, self._following, self._remembering, self._opening):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self.closing.now()
        await self._remember_now()
        await self._models.close()
        for state in (*self.collections.values(), *self.filling.values()):
            await state.index.close()
        for index in (self._batches, *self._books.values()):
            if index is not None:
                await index.close()
        self._books.clear()
        await self.fetcher.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.collections.clear()
        self.filling.clear()
        self._batches = None

    def collection(self, name: str) -> CollectionState:
        """The open collection. Raises Problem 404 if there is none, 503 if it is not open."""
        state = self.collections.get(name)
        if state is not None:
            return state
        if name in self.failures:
            raise Problem(
                COLLECTION_UNAVAILABLE,
                f"Collection {name!r} is not open: {self.failures[name]}",
            )
        known = ", ".join(sorted([*self.collections, *self.failures])) or "none"
        raise Problem(NOT_FOUND, f"There is no collection {name!r}. Served here: {known}.")

    @property
    def retrievers(self) -> dict[str, RetrieverConfig]:
        """The current state, by name."""
        return {retriever.name: retriever for retriever in self.config.retrievers}

    def take(self, light: LightConfig) -> None:
        """Continue with other search defaults, weights, limits and Edge indexes; running requests
        keep theirs.

        Raises ValueError if a retriever searches a collection that is not served, or if nothing
        tells from which index a collection answers.
        """
        config = with_light(self.config, light)
        for each in config.collections:
            if not each.index.is_told:
                raise ValueError(f"`answering` does not name the index of collection {each.name}")
        self.config = config
        self._follow_indexes()

    def retriever(self, name: str) -> RetrieverConfig:
        """The retriever's config. Raises Problem 404 if there is none."""
        retrievers = self.retrievers
        if name not in retrievers:
            known = ", ".join(sorted(retrievers)) or "none"
            detail = f"There is no retriever {name!r}. Served here: {known}."
            raise Problem(NOT_FOUND, detail)
        return retrievers[name]

    async def books(self, collection: str) -> Books:
        """A collection's records. Raises Problem 404 or 503, IndexFailure."""
        state = self.collection(collection)
        place = state.config.books
        if place is not None and place not in self._books:
            async with self._opening_books:
                if place not in self._books:
                    self._books[place] = await open_payload_index(place)
        return Books(lambda: self.books_index(state.config), Scope.of(state.config))

    def books_index(self, collection: CollectionConfig) -> Index:
        """Where a collection's records are. Raises Problem 503 if that is not open."""
        if collection.books is None:
            return self.batches_index
        return self._books[collection.books]

    @property
    def batches_index(self) -> Index:
        """The payload-only index of batch records. Raises Problem 503 if it is not open."""
        if self._batches is None:
            raise Problem(
                BATCHES_UNAVAILABLE,
                f"The store of batch records is not open: {self.batches_failure}",
            )
        return self._batches

    @property
    def read_only(self) -> str | None:
        """Why nothing can be stored at present; None if it can. Takes microseconds."""
        paths = [each.index.path for each in self.config.collections]
        return read_only([self.config.data_dir, *(path for path in paths if path is not None)])

    async def until_open(self) -> None:
        """Return when every part is open; at once if none failed."""
        if self._reopening is not None:
            await asyncio.shield(self._reopening)

    async def canary(self, name: str) -> None:
        """One query through a collection's model – the first time – and its index.

        Raises what a search would.
        """
        state = self.collection(name)
        info = state.embedder.info
        vector = self._canaries.get(info.fingerprint)
        if vector is None:
            grey = np.full((info.image_size, info.image_size, 3), 127, dtype=np.uint8)
            vector = await state.embedder.embed_image(grey)
            self._canaries[info.fingerprint] = vector
        await state.index.query(Query(vector, limit=1, with_payload=False))

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work – decoding, hashing, reading files – off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))

    def document_lock(self, collection: str, document_id: str) -> asyncio.Lock:
        """Held while a document is read, changed and written, so that no change is lost.

        Striped: unrelated documents seldom share a lock. Covers this process; between replicas
        the engine's own last-write-wins remains.
        """
        digest = hashlib.blake2b(f"{collection}\x00{document_id}".encode(), digest_size=2).digest()
        return self._document_locks[int.from_bytes(digest, "big") % _LOCK_STRIPES]

    @asynccontextmanager
    async def document_locks(self, collection: str, *document_ids: str) -> AsyncIterator[None]:
        """The locks of several documents. They are taken in one order, so that nobody who holds
        some waits for somebody who waits for these."""
        wanted = {id(lock) for lock in (self.document_lock(collection, d) for d in document_ids)}
        async with AsyncExitStack() as held:
            for lock in self._document_locks:
                if id(lock) in wanted:
                    await held.enter_async_context(lock)
            yield

    async def open_told(self) -> None:
        """Open what is not open, and go on trying in the background if that fails."""
        await self._open_missing()
        is_reopening = self._reopening is not None and not self._reopening.done()
        if (self.failures or self._batches is None) and not is_reopening:
            self._reopening = asyncio.create_task(self._reopen())

    async def _open_missing(self) -> None:
        for collection in self.config.collections:
            if not collection.index.is_told:
                continue
            if collection.name in self.collections or collection.name in self.reopening:
                continue
            try:
                state = await self.open(collection)
                if collection not in self.config.collections:  # it has changed in the meantime
                    await state.index.close()
                    continue
                self.collections[collection.name] = state
                self.failures.pop(collection.name, None)
            except (ModelError, IndexFailure, OSError) as failure:
                self._report(collection.name, Failure.of(failure))
            except Exception as failure:
                log.exception("collection %s failed to open", collection.name)
                self._report(collection.name, Failure(f"{type(failure).__name__}: {failure}"))
        if self._batches is None:
            try:
                self._batches = await open_payload_index(self.config.batches_index)
                self.batches_failure = None
            except (IndexFailure, OSError) as failure:
                self.batches_failure = Failure.of(failure)
                log.error("the store of batch records is not open: %s", failure)

    # -- other indexes and models than those that are open -----------------------------------------

    async def being_filled(self, name: str) -> CollectionState:
        """The index that is filled for a collection: a service that was just started opens it in
        the background. Raises KeyError if there is none, IndexUnavailable if it does not open."""
        give_up = time.monotonic() + _OPENING_SECONDS
        while (state := self.filling.get(name)) is None:
            if all(each.name != name for each in self.config.filling):
                raise KeyError(name)
            if time.monotonic() > give_up:
                raise IndexUnavailable(f"the new index of collection {name} is not open yet")
            await asyncio.sleep(0.1)
        return state

    def answer_from(self, state: CollectionState) -> None:
        """The collection answers from this index and by this model from now on."""
        self.collections[state.name] = state
        self.failures.pop(state.name, None)

    def leave(self, *states: CollectionState) -> None:
        """Close those of these indexes and models that nothing uses any more, in a while."""
        used = [*self.collections.values(), *self.filling.values()]
        for state in states:
            if not any(state.index is each.index for each in used):
                self.closing.later(state.index.close(), state.config.index.path)
        for ending in self.forget_models(model for state in states for model in state.models):
            self.closing.later(ending)

    def _follow_indexes(self) -> None:
        """Let the indexes that the configuration names answer and be filled: those that are open
        from now on, others once they are."""
        for wanted in self.config.collections:
            filled = self.filling.get(wanted.name)
            if filled is not None and _is_same(filled.config, wanted):
                self._switch(replace(filled, config=wanted))
        waiting = {c.name for c in self.config.collections if self._is_superseded(c)}
        waiting |= {each.name for each in self.config.filling if each.name not in self.filling}
        for name in self.not_switched.keys() - waiting:
            del self.not_switched[name]
        self._changed.set()
        if (self._indexes_differ() or self.config.removed) and (
            self._opening is None or self._opening.done()
        ):
            self._opening = asyncio.create_task(self._open_others())

    def _switch(self, state: CollectionState) -> None:
        """The collection answers from another index, or by its model in other settings. The former
        index stays open if it is to be filled."""
        name = state.name
        former, filled = self.collections.get(name), self.filling.get(name)
        if filled is not None and filled.index is state.index:
            del self.filling[name]
        self.answer_from(state)
        self.not_switched.pop(name, None)
        log.info(
            "collection %s answers from index %s, with the model %s",
            name,
            state.config.index.name,
            described(state.config.made_by),
        )
        if former is None:
            return
        for each in self.config.filling:
            if _is_same(former.config, each) and name not in self.filling:
                self.filling[name] = replace(former, config=each)
        self.leave(former)

    def _indexes_differ(self) -> bool:
        """Whether other indexes answer or are filled than the configuration says."""
        filling = {each.name: each.index.name for each in self.config.filling}
        return any(map(self._is_superseded, self.config.collections)) or filling != {
            name: state.config.index.name for name, state in self.filling.items()
        }

    def _is_superseded(self, wanted: CollectionConfig) -> bool:
        """Whether something else answers in its place. One that is not open is `_reopen`ed."""
        state = self.collections.get(wanted.name)
        return state is not None and not _is_same(state.config, wanted)

    async def _open_others(self) -> None:
        """Open the indexes that the configuration says are to answer and to be filled, and close
        others.

        One that cannot be opened is tried again. Until then the former one answers, and ingestion
        is told "unavailable".
        """
        tries = 0
        while self._indexes_differ():
            self._changed.clear()
            tries += 1
            for wanted in filter(self._is_superseded, self.config.collections):
                await self._supersede(wanted)
            for name, state in list(self.filling.items()):
                if all(each.index.name != state.config.index.name for each in self.config.filling):
                    del self.filling[name]
                    self.leave(state)
            for wanted in self.config.filling:
                if wanted.name not in self.filling:
                    await self._begin_filling(wanted)
            if self._indexes_differ():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REOPENING.after(tries)):
                        await self._changed.wait()
        await self.closing.until_free(index.path for index in self.config.removed)
        for index in self.config.removed:
            try:
                await remove_former(self.config, index)
            except (Kept, IndexFailure, OSError) as failure:
                log.warning("index %s is not deleted: %s", index.name, failure)

    async def _supersede(self, wanted: CollectionConfig) -> None:
        """Open what is to answer beside what answers, and switch to it."""
        name = wanted.name
        open_now = (self.collections.get(name), self.filling.get(name))
        there = next((s for s in open_now if s and s.config.index == wanted.index), None)
        try:
            if there is not None:
                state = await self.over_same_index(there, wanted)
            else:
                await self.closing.until_free([wanted.index.path])
                state = await self.open(wanted)
        except (ModelError, IndexFailure, OSError) as failure:
            if wanted in self.config.collections:  # else it has changed in the meantime
                if self.not_switched.get(name) != (told := str(failure)):
                    log.error("collection %s keeps answering as before: %s", name, told)
                self.not_switched[name] = told
            return
        if wanted in self.config.collections and self._is_superseded(wanted):
            self._switch(state)
        else:  # it has changed in the meantime
            self.leave(state)

    async def _begin_filling(self, wanted: CollectionConfig) -> None:
        try:
            await self.closing.until_free([wanted.index.path])
            opened = await self.open(wanted, leave_behind=True)
        except (ModelError, IndexFailure, OSError) as failure:
            if wanted in self.config.filling:  # else it has changed in the meantime
                told = f"the index that is to be filled cannot be opened: {failure}"
                if self.not_switched.get(wanted.name) != told:
                    log.error("collection %s: %s", wanted.name, told)
                self.not_switched[wanted.name] = told
            return
        if wanted in self.config.filling and wanted.name not in self.filling:
            self.filling[wanted.name] = opened
            self.not_switched.pop(wanted.name, None)
        else:  # it has changed in the meantime
            self.leave(opened)

    def _folders(self) -> dict[Path, Index]:
        """The Edge indexes that are open, by their folders."""
        used = (*self.collections.values(), *self.filling.values())
        return {
            each.config.index.path: each.index
            for each in used
            if each.config.index.path is not None
        }

    async def over_same_index(
        self, live: CollectionState, config: CollectionConfig
    ) -> CollectionState:
        """What is open, with the model in other settings. Raises ModelError, IndexMismatch."""
        embedder = await self._models.of(config.model)
        copier = await self._copier_of(config)
        spaces = _copy_space(copier), _copy_space(live.copier)
        if embedder.info.fingerprint != live.embedder.info.fingerprint or spaces[0] != spaces[1]:
            raise IndexMismatch(
                f"collection {config.name}: the model now returns other vectors than those in "
                "its index: if its weights were replaced, store them under another path"
            )
        return CollectionState(config, live.index, embedder, live.hashes, copier)

    def _report(self, collection: str, failure: Failure) -> None:
        if self.failures.get(collection) != failure:
            log.error("collection %s is not open: %s", collection, failure)
        self.failures[collection] = failure

    async def open(
        self,
        collection: CollectionConfig,
        *,
        leave_behind: bool = False,
    ) -> CollectionState:
        """Load the model, if it is not in use already, and open or create the index.

        `leave_behind`: even where a new index leaves documents behind. Raises ModelError,
        IndexFailure, OSError.
        """
        if collection.duplicates is not None:
            check_installed()
        embedder = await self._models.of(collection.model)
        copier = await self._copier_of(collection)
        info = embedder.info
        if not leave_behind:
            await check_nothing_left(collection, self.config.data_dir, self._folders())
        index = await open_index(
            collection,
            dimension=info.dimension,
            fingerprint=info.fingerprint,
            copies=_copy_space(copier),
        )
        await self._look_for_loss(collection, index)
        for warning in await retyped_warnings(index, await index.info(), collection.fields):
            log.warning("collection %s: %s", collection.name, warning)
        return CollectionState(collection, index, embedder, StoredHashes(index), copier)

    async def _copier_of(self, collection: CollectionConfig) -> BatchedEmbedder | None:
        """The collection's copy model, if it has one. Raises ModelError."""
        copies = collection.copy_model
        return None if copies is None else await self._models.of(copies)

    def forget_models(
        self, candidates: Iterable[BatchedEmbedder]
    ) -> list[Coroutine[Any, Any, None]]:
        """Those of them that no collection uses are not found any more.

        Await what is returned: each ends one model, and gives its memory back.
        """
        states = (*self.collections.values(), *self.filling.values())
        used = {id(model) for state in states for model in state.models}
        return self._models.forget([each for each in candidates if id(each) not in used])

    async def _look_for_loss(self, collection: CollectionConfig, index: Index) -> None:
        name = collection.index.name
        before = remembered(self.config.data_dir).get(name)
        lost = None
        with contextlib.suppress(IndexFailure):  # reported by the next caller
            lost = what_was_lost(name, before, (await index.info()).points)
        if lost is not None:
            log.error("collection %s: %s", collection.name, lost)
            self.lost[collection.name] = lost

    async def _remember(self) -> None:
        while True:
            await self._remember_now()
            await asyncio.sleep(_REMEMBER_SECONDS)
            await self._delete_records_of_removed()

    async def _remember_now(self) -> None:
        """Record how many documents there are, and which are no longer lost."""
        counts = {}
        for name, state in list(self.collections.items()):
            with contextlib.suppress(IndexFailure):  # reported by its callers
                counts[name] = (await state.index.info()).points
        for name in [name for name in self.lost if counts.get(name)]:
            del self.lost[name]
        known = {
            self.collections[name].config.index.name: count
            for name, count in counts.items()
            if name not in self.lost
        }
        await asyncio.to_thread(remember, self.config.data_dir, known)

    async def _delete_records_of_removed(self) -> None:
        """Of collections whose last index was deleted; of none that is served, or has an index."""
        for removed in await asyncio.to_thread(noted, self.config.data_dir):
            served = (*self.config.collections, *self.config.filling)
            back = any(each.name == removed.owner.name for each in served)
            if self._batches is None or not (back or removed.is_gone):
                continue
            try:
                if not back:
                    scope = Scope.named(removed.owner.name, removed.owner)
                    count = await delete_all(self._batches, scope)
                    log.info(
                        "the records of %s were deleted with its index: %d", removed.owner, count
                    )
                await asyncio.to_thread(settle, self.config.data_dir, removed)
            except (IndexFailure, OSError) as failure:
                log.warning("the records of %s are not deleted yet: %s", removed.owner, failure)

    async def _reopen(self) -> None:
        tries = 1
        while self.failures or self._batches is None:
            await asyncio.sleep(_REOPENING.after(tries))
            tries += 1
            await self._open_missing()


def _is_same(one: CollectionConfig, other: CollectionConfig) -> bool:
    """Whether they answer alike: from the same index, by the same models."""
    return (one.index, one.made_by) == (other.index, other.made_by)


def _copy_space(copier: BatchedEmbedder | None) -> CopySpace | None:
    """What an index has for the vectors of a copy model."""
    return None if copier is None else CopySpace(copier.info.dimension, copier.info.fingerprint)


def refuse_open_doors(config: ServingConfig) -> None:
    """Without API keys a service listens on loopback only. Raises ValueError otherwise."""
    if config.access.api_keys_file is not None or config.http.loopback_only:
        return
    raise ValueError(
        f"http.host is {config.http.host!r} and access.api_keys_file is not set: anyone on the "
        "network could read and change the collections. Set access.api_keys_file (with one key "
        "per line), or set http.host to 127.0.0.1"
    )
