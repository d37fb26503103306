"""One ingestion run, from listing to the last point.

    list -> what does the index have of it? -> nothing to do | new payload | a task for a worker

The driver asks the index for fingerprints, so a rerun over an unchanged collection loads no model
and starts no worker. What is in memory is bounded: one chunk being listed, and as many chunks of
tasks as the workers take at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lookalike_crds.config import IngestionConfig
from lookalike_crds.failures import (
    ENTRY_ID_TAKEN,
    NOTHING_INGESTED,
    SOURCES_UNREADABLE,
    FailureKind,
)
from lookalike_crds.image_collection import Engine
from lookalike_crds.moments import now_text
from lookalike_crds.progress import CARRIED, ByCause, Counts, RunState
from lookalike_crds.sources import SourceSpec
from lookalike_serving.books.record import Scope
from lookalike_serving.books.store import Books
from lookalike_serving.documents.build import Kept
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import RESERVED, Origin, split
from lookalike_serving.documents.metadata import MetadataChecker
from lookalike_serving.embed.protocol import Embedder
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.reader import for_sources
from lookalike_serving.index.filters.equality import Equals
from lookalike_serving.index.protocol import IndexFailure, IndexMismatch, IndexRefused, PointStore
from lookalike_serving.index.remote import RemoteIndex
from lookalike_serving.ingest import models
from lookalike_serving.ingest.accounts import Accounts
from lookalike_serving.ingest.carrying import Carrying
from lookalike_serving.ingest.dispatch import DELETED, Dispatch
from lookalike_serving.ingest.gate import Gate
from lookalike_serving.ingest.ids import held, prefixed, taken
from lookalike_serving.ingest.ledger import Ledger
from lookalike_serving.ingest.models import Loaded
from lookalike_serving.ingest.one_behind import OneBehind
from lookalike_serving.ingest.partition import WHOLE, Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.rejections import caution_of, still_rejected
from lookalike_serving.ingest.sources import (
    Entry,
    Gone,
    Item,
    KeyedSource,
    LeftOut,
    Rejected,
    Source,
    SourceError,
    open_source,
)
from lookalike_serving.ingest.store import (
    open_books,
    open_former,
    open_images,
    open_made_store,
    open_remote,
    open_store,
)
from lookalike_serving.ingest.together import Together, forget_ended, together
from lookalike_serving.ingest.versions import Change, change, fingerprint
from lookalike_serving.ingest.work import Failure, Task
from lookalike_serving.ingest.worker import rewrite_payload

LISTED_AT_ONCE = 1000
_PAGE = 1000
_MOST_TOLD = 3

log = logging.getLogger("lookalike.ingest")


@dataclass(slots=True)
class _Listing:
    """What a source listed, all partitions' entries together."""

    entries: int = 0
    hidden: list[str] = field(default_factory=list)
    """Entries that may stand for images which nothing else names; the first few."""


async def run(
    config: IngestionConfig,
    progress: ProgressWriter,
    partition: Partition | None = None,
    *,
    only_failed: bool = False,
) -> RunState:
    """Bring the collection up to date with its sources; the state it ended in.

    `only_failed`: try again what failed before, and leave everything else as it is.

    With a `partition` – of one, too – only its documents, and all work is done in this process,
    which is then one of those that a Job runs.

    Raises IndexFailure, ModelError, TooManyFailures: the run as a whole cannot go on, and what it
    wrote so far stays. A source that cannot be read fails on its own; the others go on.
    """
    scratch_home = config.data_dir / "scratch"
    scratch_home.mkdir(parents=True, exist_ok=True)
    fetcher = ImageFetcher(config.fetch)
    progress.enter(RunState.LISTING)
    with tempfile.TemporaryDirectory(dir=scratch_home) as folder:
        store, ready = await _driver_store(config)
        async with contextlib.AsyncExitStack() as ending:
            ending.push_async_callback(fetcher.close)
            ending.push_async_callback(store.close)
            books = await open_books(config)
            shared: Together | None = None
            if books is not None:
                ending.push_async_callback(books.close)
                ending.push_async_callback(forget_ended, config, books)
                shared = together(config, books, partition or WHOLE)
            accounts = await ending.enter_async_context(
                Accounts(
                    None if books is None else Books(lambda: books, Scope.of(config.collection)),
                    progress,
                    partition or WHOLE,
                    only_failed=only_failed,
                )
            )
            workers = Dispatch(config, progress, accounts, ready, alone=partition is not None)
            ending.push_async_callback(workers.close)
            if shared is not None:
                ending.push_async_callback(shared.close)
            former, gate = None, None
            if config.carry is not None and not only_failed:
                before, images = await open_former(config), open_images(config)
                ending.push_async_callback(before.close)
                ending.push_async_callback(images.close)
                parts = partition or WHOLE
                former = Carrying(before, store, parts, progress, accounts, workers)
                gate = gate_of(config, before, store, images, fetcher, ready.own)
            one = Run(
                config,
                progress,
                accounts,
                store,
                fetcher,
                Path(folder),
                workers,
                partition or WHOLE,
                shared,
                only_failed=only_failed,
                former=former,
            )
            state = await one.go()
            if gate is not None and state.went_through and (partition or WHOLE).first:
                await accounts.until_others_end()
                progress.progress.gate = await gate.measure()
                progress.write(now=True)
            return state


async def _driver_store(config: IngestionConfig) -> tuple[PointStore, Loaded]:
    """The index, and the models if they had to be loaded to make the index."""
    if config.collection.index.engine is Engine.EDGE:
        return open_remote(config), Loaded()
    try:
        return await open_made_store(config), Loaded()
    except IndexMismatch:
        pass  # it is to be made, or the model tells more precisely what is wrong
    collection = config.collection
    own = await asyncio.to_thread(models.loaded, config, collection.model)
    copier = None
    if collection.copy_model is not None:
        copier = await asyncio.to_thread(models.loaded, config, collection.copy_model)
    store = await open_store(config, own.info, None if copier is None else copier.info)
    return store, Loaded(own, copier)


def gate_of(
    config: IngestionConfig,
    former: PointStore,
    store: PointStore,
    images: RemoteIndex,
    fetcher: ImageFetcher,
    embedder: Embedder | None,
) -> Gate | None:
    """What is to be measured before the index that a run fills answers."""
    asked, carry = config.collection.gate, config.carry
    if asked is None or carry is None:
        return None
    reader = for_sources(fetcher, config.buckets)
    return Gate(config, carry, asked, former, store, images, reader, embedder)


class Run:
    """What a run knows of its sources while it goes through them."""

    def __init__(
        self,
        config: IngestionConfig,
        progress: ProgressWriter,
        accounts: Accounts,
        store: PointStore,
        fetcher: ImageFetcher,
        scratch: Path,
        workers: Dispatch,
        partition: Partition,
        together: Together | None,
        *,
        only_failed: bool,
        former: Carrying | None = None,
    ) -> None:
        """`former`: of a run that fills an index while another one answers."""
        self._former = former
        self._began = now_text("milliseconds")
        self._accounts = accounts
        self._together = together
        self._only_failed = only_failed
        self._config = config
        self._kept = Kept.by(config.collection.duplicates)
        if not accounts.kept:  # features would be asked for in vain, run by run
            self._kept = replace(self._kept, features=False)
        self._workers = workers
        self._partition = partition
        self._listings: dict[str, _Listing] = {}
        names = config.collection.sources
        self._others = set(names if names is not None else (s.name for s in config.sources))
        """The collection's sources that this run has not listed whole: theirs stays theirs."""
        self._collection = config.collection.name
        self._checker = MetadataChecker(config.collection.fields)
        self._progress = progress
        self._store = store
        self._fetcher = fetcher
        self._scratch = scratch
        self._ledger = Ledger(scratch / "seen.sqlite")
        self._asked: KeyedSource | None = None
        """Of a run that looks at single keys: the source that is asked for them."""
        self._notes: list[str] = []
        self._unlisted: set[FailureKind] = set()
        """Why sources could not be listed."""

    def close(self) -> None:
        """Of what lies in its scratch folder."""
        self._ledger.close()

    async def go(self) -> RunState:
        listed: list[SourceSpec] = []
        if self._former is not None:
            await self._former.drop_deleted(self._config.collection.sources or ())
        for spec in self._config.sources:
            try:
                await self._source(spec)
                listed.append(spec)
                self._others.discard(spec.name)  # what it has, the ledger knows from here on
            except SourceError as error:
                self._unlisted.add(error.failure_kind)
                self._notes.append(str(error))
        self._progress.progress.listed_all = True
        self._progress.enter(RunState.RUNNING)
        await self._workers.finish()
        if self._former is not None:
            await self._former.carry(self._ledger, self._trusted(listed))
            await self._workers.finish()
        await self._accounts.settle_gone([*(spec.name for spec in listed), CARRIED])
        unbalanced = self._check_balance()
        for spec in listed:
            if spec.delete_missing and not self._only_failed and spec.name not in unbalanced:
                await self._delete_missing(spec)
        self._progress.enter(RunState.OPTIMIZING)
        await self._store.optimize()
        self._progress.progress.documents = await self._store.count()
        carried = self._progress.progress.sources.get(CARRIED, Counts())
        failed = self._progress.failed - carried.failed
        usable = self._progress.progress.total.usable - carried.usable
        if carried.failed:
            self._notes.append(
                f"{carried.failed} documents cannot be embedded by the new model, the last: "
                f"{self._progress.last_error}"
            )
        nothing = bool(failed) and not usable and not self._only_failed
        failure = None
        # One share of several may hold nothing but a few bad images: its Job judges by all shares.
        if not listed and self._config.sources:
            alike = len(self._unlisted) == 1
            failure = next(iter(self._unlisted)) if alike else SOURCES_UNREADABLE
        elif nothing and self._partition.whole:
            failure = NOTHING_INGESTED
        if failure is not None:
            state = RunState.FAILED
        elif failed or self._notes:
            state = RunState.COMPLETED_WITH_ERRORS
        else:
            state = RunState.COMPLETED
        if nothing:
            self._notes.append(
                f"none of {failed} images could be ingested; the last: {self._progress.last_error}"
            )
        elif failed:
            self._notes.append(f"{failed} images could not be ingested")
        self._progress.enter(state, "; ".join(self._notes) or None, failure)
        return state

    async def _source(self, spec: SourceSpec) -> None:
        """List one source and hand out what changed. Raises SourceError."""
        config = self._config
        reader = for_sources(self._fetcher, config.buckets)
        fields = config.collection.fields
        source = open_source(
            spec, fields, self._scratch, reader, config.secrets_dir, self._together
        )
        await self._take_in(spec, source, self._listed(spec, source))

    async def _take_in(
        self, spec: SourceSpec, source: Source, entries: AsyncIterator[Entry]
    ) -> None:
        """Sort out the entries of a source, some at a time, while the next ones are read.

        Raises SourceError, once what came before it has been sorted out.
        """
        counts = self._progress.counts(spec.name)
        listing = self._listings.setdefault(spec.name, _Listing())
        chunk: list[tuple[str, Item]] = []
        async with OneBehind() as sorting:
            try:
                async for entry in entries:
                    if (item := self._taken_up(spec, listing, entry)) is None:
                        continue
                    counts.listed += 1
                    chunk.append(item)
                    if len(chunk) == LISTED_AT_ONCE:
                        await sorting.next(self._sort_out(spec.name, chunk))
                        chunk = []
            except SourceError:
                await sorting.next(self._sort_out(spec.name, chunk))
                raise
            finally:
                if self._partition.first and not self._only_failed:
                    self._progress.skip(spec.name, source.skipped)
            await sorting.next(self._sort_out(spec.name, chunk))

    def _taken_up(
        self, spec: SourceSpec, listing: _Listing, listed: Entry
    ) -> tuple[str, Item] | None:
        """(point id, item) of an entry that is an image of this partition; anything else is dealt
        with here."""
        entry = prefixed(listed, spec)
        if isinstance(entry, ByCause):
            if self._partition.first:
                self._progress.warn(entry)
            return None
        if isinstance(entry, Item | Rejected):
            failed_before = self._accounts.lists(spec.name, entry.key)
            if self._only_failed and not failed_before and not self._may_be_mended(spec, entry):
                return None
        listing.entries += 1  # of images, so that a table alone is an empty source
        if isinstance(entry, LeftOut):
            self._ledger.hold(entry.uri)
            return None
        if isinstance(entry, Rejected):
            if entry.uri is not None:
                self._ledger.hold(entry.uri)
            if entry.hides and len(listing.hidden) < _MOST_TOLD:
                listing.hidden.append(f"{entry.key} {entry.cause}")
            self._reject(spec.name, entry)
            return None
        point = point_id(self._collection, entry.document_id)
        return (point, entry) if self._partition.has(point) else None

    def _may_be_mended(self, spec: SourceSpec, entry: Item | Rejected) -> bool:
        """Whether an entry of a run over failures alone may be one that had no key before."""
        return isinstance(entry, Item) and self._accounts.has_nameless(spec.name)

    async def _listed(self, spec: SourceSpec, source: Source) -> AsyncIterator[Entry]:
        """What a source lists; the time that it takes is counted."""
        entries = _listed(source)
        by_key = isinstance(source, KeyedSource) and spec.kind.has_paths
        if self._only_failed and by_key and not spec.kind.holds_archives:
            assert isinstance(source, KeyedSource)
            keys = await self._accounts.failed_keys(spec.name)
            if keys is not None:
                self._asked = source
                entries = _looked_up(source, keys)
        while True:
            start = time.perf_counter()
            try:
                entry = await anext(entries)
            except StopAsyncIteration:
                return
            finally:
                self._progress.took("list", time.perf_counter() - start)
            yield entry

    def _check_balance(self) -> set[str]:
        """Sources of whose entries not each has become something, exactly once; none, unless
        something here is wrong."""
        found = set()
        for name, counts in self._progress.progress.sources.items():
            if counts.left:
                found.add(name)
                what = "were lost on the way" if counts.left > 0 else "were counted twice"
                told = (
                    f"the accounts of source {name} do not balance: {counts.listed} listed, "
                    f"{counts.told()}, so {abs(counts.left)} {what}; nothing of it was deleted. "
                    "Run it again, and report it"
                )
                log.error("%s", told)
                self._notes.append(told)
        return found

    def _reject(self, source: str, entry: Rejected) -> None:
        if self._partition.has_entry(entry.key):
            self._progress.counts(source).listed += 1
            self._progress.fail(Failure(source, entry.key, entry.cause, entry.kind.code))
            self._workers.check_failures()

    async def _sort_out(self, source: str, items: list[tuple[str, Item]]) -> None:
        """What is new, what changed, what is as it was."""
        first: list[tuple[str, Item]] = []
        for id_, item in items:
            earlier = self._ledger.enter(id_, source, item.key)
            if earlier is None:
                first.append((id_, item))
                self._progress.warn(*(each.counted(source, item.key) for each in item.cautions))
                continue
            told = taken(item, source, *earlier)
            self._progress.fail(Failure(source, item.key, told, ENTRY_ID_TAKEN.code))
        records = await self._store.retrieve([id_ for id_, _ in first], with_payload=(RESERVED,))
        stored = {r.id: split(r.payload)[1] for r in records if RESERVED in r.payload}
        counts = self._progress.counts(source)
        # Whatever is in the index as this source brought it is not among the deleted.
        away = [
            id_ for id_, _ in first if (known := stored.get(id_)) is None or known.source != source
        ]
        deleted = await self._accounts.deletions_of(away)
        versions = {
            id_: item.version
            for id_, item in first
            if item.version is not None
            and ((known := stored.get(id_)) is None or known.image_version != item.version)
        }
        rejected = await still_rejected(
            self._accounts, self._store, self._config.collection, versions
        )
        for id_, item in first:
            before = stored.get(id_)
            if before is not None and (other := await self._other_image(item, source, before)):
                told = taken(item, source, source, other)
                self._progress.fail(Failure(source, item.key, told, ENTRY_ID_TAKEN.code))
                continue
            if before is not None and before.source != source and before.source in self._others:
                told = held(item, before)
                self._progress.fail(Failure(source, item.key, told, ENTRY_ID_TAKEN.code))
                continue
            deletion = deleted.get(id_)
            if deletion is not None and deletion.version in (None, item.version):
                counts.skipped += 1
                self._progress.pass_over(source, DELETED, item.key)
                self._accounts.brought_in(source, item.key)  # it does not fail any more
                continue
            match self._change(item, source, before):
                case Change.NONE:
                    counts.unchanged += 1
                    self._accounts.brought_in(source, item.key)
                case Change.METADATA if item.labels is None:
                    try:
                        await self._rewrite(Task(source, item, stored[id_]))
                    except IndexRefused as refused:  # somebody has deleted it in the meantime
                        code = refused.failure_kind.code
                        self._progress.fail(Failure(source, item.key, str(refused), code))
                        continue
                    counts.updated += 1
                    self._accounts.brought_in(source, item.key)
                case _ if id_ in rejected:
                    counts.skipped += 1
                    why = caution_of(rejected[id_].document)
                    self._progress.pass_over(source, why.cause, why.example(item.key))
                    self._accounts.brought_in(source, item.key)
                case _:
                    was = None if deletion is None else deletion.version
                    await self._workers.add(Task(source, item, stored.get(id_), was))
        await self._accounts.flush()
        self._progress.write()

    async def _other_image(self, item: Item, source: str, before: Origin) -> str | None:
        """The key of another image of the source that has the item's id, and is still there.

        A listing comes to both, and the ledger knows it. Where single keys are looked at, only the
        index does.
        """
        if self._asked is None or before.source != source or before.image == item.uri:
            return None
        key = self._asked.key_of(before.image)
        seen = [] if key is None else await self._asked.look([key])
        return next((each.key for each in seen if each.version is not None), None)

    def _change(self, item: Item, source: str, stored: Origin | None) -> Change:
        return change(item, source, stored, self._kept)

    async def _rewrite(self, task: Task) -> None:
        assert task.item.version is not None
        mark = fingerprint(task.item, task.item.version)
        await rewrite_payload(self._store, self._collection, self._checker, task, mark)

    def _trusted(self, listed: Sequence[SourceSpec]) -> set[str]:
        """The sources whose documents go if their listing no longer has them."""
        return {
            spec.name
            for spec in listed
            if spec.delete_missing and not self._listings[spec.name].hidden
        }

    async def _delete_missing(self, spec: SourceSpec) -> None:
        """Delete the documents that this source no longer lists, if its listing can be trusted."""
        counts = self._progress.counts(spec.name)
        listing = self._listings[spec.name]
        mine = Equals(f"{RESERVED}.source", spec.name)
        if listing.entries == 0:
            if self._partition.first and (held := await self._store.count(mine)):
                self._notes.append(
                    f"source {spec.name} lists no image while the index holds {held} of it: "
                    "nothing was deleted. If that is meant, delete the documents or the source"
                )
            return
        if listing.hidden:
            if self._partition.first:
                self._notes.append(
                    f"source {spec.name}: deleteMissing waits for a complete listing: "
                    + ", ".join(listing.hidden)
                )
            return
        after: str | None = None
        while True:
            page = await self._store.scroll(
                filter=mine, limit=_PAGE, after=after, with_payload=(RESERVED,)
            )
            found = {
                r.id: origin
                for r in page.records
                if self._partition.has(r.id)
                # Its image may have come after the listing had passed it.
                and ((origin := split(r.payload)[1]).updated_at or "") < self._began
            }
            gone = self._ledger.missing((id, origin.image) for id, origin in found.items())
            if gone:
                await self._store.delete(gone)
                await self._accounts.forget_features(
                    [id for id in gone if found[id].features is not None]
                )
                counts.deleted += len(gone)
                self._progress.write()
            if page.next is None:
                return
            after = page.next


async def _looked_up(source: KeyedSource, keys: Sequence[str]) -> AsyncIterator[Entry]:
    """What a source would list of some keys. Raises SourceError."""
    for low in range(0, len(keys), LISTED_AT_ONCE):
        async for entry in source.entries(await source.look(keys[low : low + LISTED_AT_ONCE])):
            if not isinstance(entry, Gone):
                yield entry


async def _listed(source: Source) -> AsyncIterator[Entry]:
    """What a source lists. Raises SourceError, also where the listing fails unexpectedly, and
    IndexFailure."""
    try:
        async for entry in source.list():
            yield entry
    except (SourceError, IndexFailure):
        raise
    except Exception as error:
        log.exception("the listing of source %s failed unexpectedly", source.name)
        raise SourceError(
            f"source {source.name}: its listing failed unexpectedly ({type(error).__name__}): the "
            "log has the cause"
        ) from error
