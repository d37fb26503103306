"""The decisions of a run over some keys of a source, which are looked at instead of listed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

from lookalike_crds.config import IngestionConfig
from lookalike_crds.progress import RunState
from lookalike_crds.sources import SourceSpec
from lookalike_serving.documents.ids import BadDocumentId, checked, point_id
from lookalike_serving.documents.layout import RESERVED, Origin, split
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.fetch import Validators
from lookalike_serving.index.filters.equality import Equals
from lookalike_serving.index.filters.texts import StartsWith
from lookalike_serving.index.filters.tree import And, Filter
from lookalike_serving.index.protocol import PointStore
from lookalike_serving.ingest.accounts import Accounts
from lookalike_serving.ingest.dispatch import Dispatch
from lookalike_serving.ingest.models import NONE_LOADED
from lookalike_serving.ingest.partition import WHOLE
from lookalike_serving.ingest.pool import Pool
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import Run
from lookalike_serving.ingest.sources import Entry, Gone, Item, KeyedSource, Seen, SourceError
from lookalike_serving.ingest.versions import Change, fingerprint, image_part
from lookalike_serving.ingest.work import Task
from lookalike_serving.ingest.worker import rewrite_payload

_PAGE = 1000


async def bring_keys(
    config: IngestionConfig,
    progress: ProgressWriter,
    accounts: Accounts,
    store: PointStore,
    fetcher: ImageFetcher,
    scratch: Path,
    pool: Pool,
    spec: SourceSpec,
    source: KeyedSource,
    seen: Iterable[Seen],
) -> bool:
    """Bring the documents of some keys to what was seen; whether anything was written.

    `pool`: who embeds. Raises SourceError, IndexFailure, ModelError: then keys may be left over.
    """
    counts = progress.counts(spec.name)
    before = (counts.new, counts.updated, counts.deleted)
    workers = Dispatch(config, progress, accounts, NONE_LOADED, alone=True, pool=pool)
    run = SomeKeys(
        config,
        progress,
        accounts,
        store,
        fetcher,
        scratch,
        workers,
        WHOLE,
        None,
        only_failed=False,
    )
    try:
        await run.bring(spec, source, seen)
    finally:
        await workers.close()
        run.close()
    return before != (counts.new, counts.updated, counts.deleted)


def end(progress: ProgressWriter) -> None:
    """Report that all keys that were to be brought in were looked at."""
    failed = progress.failed
    progress.progress.listed_all = True
    state = RunState.COMPLETED_WITH_ERRORS if failed else RunState.COMPLETED
    progress.enter(state, f"{failed} images could not be ingested" if failed else None)


class SomeKeys(Run):
    """Made for one call of `bring`: its ledger is of the keys of that call."""

    _rows_alone = False

    async def bring(self, spec: SourceSpec, source: KeyedSource, seen: Iterable[Seen]) -> None:
        """Bring the documents of these keys to what was seen; of all keys of the source if one
        that tells of all is among them.

        Raises SourceError, IndexFailure, ModelError: keys may be left over.
        """
        gone: list[Gone] = []
        rest = list(seen)
        if any(each.tells_of_all and each.version is not None for each in rest):
            # Any image may have another row: whatever else was told of is in the listing, too.
            rest = [each for each in rest if each.version is None]
            self._rows_alone = True
            await self._take_in(spec, source, source.list())
            self._rows_alone = False
        self._asked = source

        async def there() -> AsyncIterator[Entry]:
            async for entry in source.entries(rest):
                if isinstance(entry, Gone):
                    gone.append(entry)
                else:
                    yield entry

        try:
            await self._take_in(spec, source, there())
        except SourceError:
            await self._workers.finish()
            raise
        finally:
            source.skipped.clear()
        await self._workers.finish()
        for each in gone:
            self._accounts.brought_in(spec.name, each.key)  # it does not fail any more
            if spec.delete_missing:
                await self._delete(spec, each)
        await self._accounts.flush()

    def _change(self, item: Item, source: str, stored: Origin | None) -> Change:
        """Where rows alone may have changed, images of which no version is told are not read."""
        if self._rows_alone and item.version is None and stored is not None:
            item = replace(item, version=image_part(stored))
        return super()._change(item, source, stored)

    async def _rewrite(self, task: Task) -> None:
        if task.item.version is not None or task.stored is None:
            await super()._rewrite(task)
            return
        mark = fingerprint(task.item, image_part(task.stored))
        validators = Validators(task.stored.etag, task.stored.last_modified)
        await rewrite_payload(self._store, self._collection, self._checker, task, mark, validators)

    async def _delete(self, spec: SourceSpec, gone: Gone) -> None:
        """Delete the documents that the image or archive had brought."""
        counts = self._progress.counts(spec.name)
        if gone.document_id is not None:
            points = await self._at_its_id(spec, gone, gone.document_id)
            if points or spec.metadata.document_id is None:
                await self._store.delete(points)
                await self._accounts.forget_features(points)
                counts.deleted += len(points)
                return
        mine = Equals(f"{RESERVED}.source", spec.name)
        image = f"{RESERVED}.image"
        theirs: Filter = (
            Equals(image, gone.uri) if gone.below is None else StartsWith(image, gone.below)
        )
        while True:
            page = await self._store.scroll(
                filter=And((mine, theirs)), limit=_PAGE, with_payload=False
            )
            if not page.records:
                return
            points = [record.id for record in page.records]
            await self._store.delete(points)
            await self._accounts.forget_features(points)
            counts.deleted += len(page.records)

    async def _at_its_id(self, spec: SourceSpec, gone: Gone, document_id: str) -> list[str]:
        """The point of the document, if it is the one that the image had brought."""
        try:
            point = point_id(self._collection, checked(spec.id_prefix + document_id))
        except BadDocumentId:
            return []
        records = await self._store.retrieve([point], with_payload=(RESERVED,))
        origins = [split(record.payload)[1] for record in records if RESERVED in record.payload]
        return [point for o in origins if (o.source, o.image) == (spec.name, gone.uri)]
