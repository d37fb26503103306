"""The part of a run that no source does: documents are carried over from the index that answers.

A run that fills an index for a changed model first brings what the sources list. What is then still
missing – uploads, and documents whose source or object has gone – is embedded again from the images
that the documents name (`documents/carrying.py`). Those that cannot be embedded again count as
failures of `CARRIED`, with their ids, and the new index does not answer until somebody decides
about them.
"""

from __future__ import annotations

from collections.abc import Iterable

from lookalike_crds.progress import CARRIED
from lookalike_serving.documents.carrying import behind, gone
from lookalike_serving.documents.layout import split
from lookalike_serving.index.protocol import PointStore
from lookalike_serving.ingest.accounts import Accounts
from lookalike_serving.ingest.dispatch import Dispatch
from lookalike_serving.ingest.ledger import Ledger
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.sources import Item
from lookalike_serving.ingest.work import Task


class Carrying:
    """From one index into another, as one partition of a run."""

    def __init__(
        self,
        former: PointStore,
        store: PointStore,
        partition: Partition,
        progress: ProgressWriter,
        accounts: Accounts,
        workers: Dispatch,
    ) -> None:
        self._former = former
        self._store = store
        self._partition = partition
        self._progress = progress
        self._accounts = accounts
        self._workers = workers

    async def drop_deleted(self, sources: Iterable[str]) -> None:
        """Delete from the new index, if it was filled earlier, what has been deleted since."""
        counts = self._progress.counts(CARRIED)
        async for ids in gone(self._former, self._store, sources, self._accounts.deletions_of):
            mine = [id for id in ids if self._partition.has(id)]
            await self._store.delete(mine)
            counts.deleted += len(mine)

    async def carry(self, ledger: Ledger, trusted: set[str]) -> None:
        """Hand out what is to be embedded again, and copy what requests have changed.

        `trusted`: sources with deleteMissing that were listed whole. A document of theirs that
        they no longer list would be deleted in the former index, too.
        """
        counts = self._progress.counts(CARRIED)
        async for page in behind(self._former, self._store):
            for record in page.payloads:
                if self._partition.has(record.id):
                    await self._store.replace_payload(record.id, record.payload)
            found = [(r, split(r.payload)[1]) for r in page.images if self._partition.has(r.id)]
            listed = [(r.id, origin.image) for r, origin in found if origin.source in trusted]
            removed = set(ledger.missing(listed))
            for record, origin in found:
                if record.id in removed:
                    continue
                counts.listed += 1
                name = origin.document_id
                self._accounts.lists(CARRIED, name)
                item = Item(name, name, origin.image, None, {})
                await self._workers.add(Task(CARRIED, item, None, carried=record))
            self._progress.write()
