"""The means of a run, kept for as long as changed keys of a collection keep coming.

A session is one run in the collection's records: its balance is the sum of all keys that it looked
at. It works with the model and the index that the service has open.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from lookalike_crds.buckets import plain_address
from lookalike_crds.config import CollectionSources, IngestionConfig
from lookalike_crds.failures import Retry, by_code
from lookalike_crds.image_collection import IngestionSpec
from lookalike_crds.progress import RunState
from lookalike_crds.sources import SourceSpec
from lookalike_serving.books.store import Books
from lookalike_serving.copies.upload import write_checked
from lookalike_serving.documents.replaced import releasing
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.reader import for_sources
from lookalike_serving.index.protocol import Decision, Point
from lookalike_serving.ingest.accounts import Accounts
from lookalike_serving.ingest.changes.apart import BOOKS, POOL, STORE, Errand, go_through
from lookalike_serving.ingest.changes.some_keys import bring_keys, end
from lookalike_serving.ingest.partition import WHOLE
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.sources import KeyedSource, Seen, open_source
from lookalike_serving.ingest.sources.named import Named
from lookalike_serving.ingest.work import Outcome, Task
from lookalike_serving.ingest.worker import Within, Worker
from lookalike_serving.service import CollectionState, Service

_BATCH = max(2, os.cpu_count() or 1)
"""Images at once: searches that come in between find a short queue."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What came of some keys."""

    wrote: bool
    """Whether anything was written."""
    may_pass: frozenset[str]
    """Keys whose image could not be read, for a cause that may pass by itself."""
    named: Named | None = None
    """Which objects rows name, if a manifest was gone through."""


class Session:
    """`async with`. Of one collection as it is open, and its sources as they are declared now."""

    def __init__(
        self, service: Service, state: CollectionState, declared: CollectionSources, books: Books
    ) -> None:
        self.state = state
        self.declared = declared
        self.used_at = datetime.now(UTC)
        self.started_at = self.used_at
        self._service = service
        self._books = books
        self._ending = contextlib.AsyncExitStack()
        self._sources: dict[str, KeyedSource] = {}
        self._accounts: Accounts | None = None
        """From the first key that is looked at here."""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opening:
            await self._open(opening)
            self._ending = opening.pop_all()
        return self

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        service, state = self._service, self.state
        home = service.config.data_dir / "scratch"
        home.mkdir(parents=True, exist_ok=True)
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="changes-", dir=home))
        self._scratch = Path(scratch)
        self._config = IngestionConfig(
            collection=state.config,
            sources=self.declared.sources,
            ingestion=IngestionSpec(batch_size=_BATCH),
            data_dir=service.config.data_dir,
            fetch=service.config.fetch,
            buckets=service.config.buckets,
            secrets_dir=self.declared.secrets_dir,
            progress_file=self._scratch / "progress.json",
        )
        self._fetcher = ImageFetcher(service.config.fetch)
        stack.push_async_callback(self._fetcher.close)
        self._store = releasing(state, service.images)

        async def decide(point: Point, image: bytes, reject: bool) -> Decision:
            return await write_checked(service, state, point, image, reject=reject)

        within = Within(state.embedder, self._store, self._books, decide, state.copier)
        self._worker = Worker(self._config, threads=None, within=within)
        stack.push_async_callback(self._worker.close)
        self._progress = stack.enter_context(ProgressWriter(self._config.progress_file, state.name))
        self._progress.progress.state = RunState.RUNNING

    async def __aexit__(self, *error: object) -> None:
        if error[0] is None:
            end(self._progress)
        await self._ending.__aexit__(*error)  # type: ignore[arg-type]

    def source(self, name: str) -> tuple[SourceSpec, KeyedSource] | None:
        """A declared source that can be asked for single keys."""
        spec = next((each for each in self.declared.sources if each.name == name), None)
        if spec is None:
            return None
        if name not in self._sources:
            folder = self._scratch / name
            folder.mkdir()
            reader = for_sources(self._fetcher, self._config.buckets)
            opened = open_source(
                spec, self.state.config.fields, folder, reader, self._config.secrets_dir
            )
            if not isinstance(opened, KeyedSource):
                return None
            self._sources[name] = opened
        return spec, self._sources[name]

    async def bring(self, spec: SourceSpec, source: KeyedSource, seen: Sequence[Seen]) -> Brought:
        """Bring the documents of some keys to what was seen.

        Raises SourceError, IndexFailure, ModelError: then keys may be left over.
        """
        self.used_at = datetime.now(UTC)
        accounts = await self._open_accounts()
        pool = _Lent(self._worker, spec.name)
        with tempfile.TemporaryDirectory(dir=self._scratch) as scratch:
            wrote = await bring_keys(
                self._config,
                self._progress,
                accounts,
                self._store,
                self._fetcher,
                Path(scratch),
                pool,
                spec,
                source,
                seen,
            )
        self.used_at = datetime.now(UTC)
        return Brought(wrote, frozenset(pool.may_pass))

    async def go_through(self, spec: SourceSpec, keys: Sequence[str]) -> Brought:
        """Bring keys for which the whole source is gone through to what is there, in a process of
        its own: it is a run of its own, too. Raises what `bring` raises."""
        pool = _Lent(self._worker, spec.name)
        records = self._service.books_index(self.state.config)
        lent = {STORE: self._store, BOOKS: records, POOL: pool}
        done = await go_through(Errand(self._config, spec.name, tuple(keys)), lent)
        self.used_at = datetime.now(UTC)
        return Brought(done.wrote, frozenset(pool.may_pass), done.named)

    async def _open_accounts(self) -> Accounts:
        if self._accounts is None:
            self._accounts = await self._ending.enter_async_context(
                Accounts(self._books, self._progress, WHOLE, of_changes=True)
            )
        return self._accounts


class _Lent:
    """The session's worker, as the pool of one batch, which closes its pool."""

    capacity = 2

    def __init__(self, worker: Worker, source: str) -> None:
        self._worker = worker
        self._source = source
        self.may_pass: set[str] = set()
        """Keys of images that could not be read, for a cause that may pass by itself."""

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        outcome = await self._worker.process(tasks)
        named = {task.item.key: plain_address(task.item.uri) for task in tasks}
        for failure in outcome.failures:
            if failure.source == self._source and by_code(failure.code).retry is Retry.LATER:
                # A manifest's key of it is the address.
                self.may_pass |= {failure.key, named.get(failure.key) or failure.key}
        return outcome

    async def close(self) -> None:
        """The session's business."""
