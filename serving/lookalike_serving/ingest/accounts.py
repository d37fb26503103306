"""What a run writes into its collection's records, and what it reads there.

It reads which entries failed before and which documents were deleted; it writes its own balance
every few seconds, so that a run that is killed leaves what it had done, and failures by the chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Self

from lookalike_crds.failures import ENTRY_UNREADABLE, ENTRY_WITHOUT_IMAGE
from lookalike_crds.moments import now_text
from lookalike_crds.progress import RUN_VARIABLE, RunState
from lookalike_serving.books.record import MOST_FAILURES, Deletion, FailedEntry, Rejection, RunPart
from lookalike_serving.books.store import Books
from lookalike_serving.failures import kind_of
from lookalike_serving.ingest.partition import Partition
from lookalike_serving.ingest.progress import ProgressWriter

_EVERY_SECONDS = 5.0
_LAST_WORDS_SECONDS = 10.0
"""A run that fails, or is told to end, does not wait longer for its record to be written."""
_MOST_LOOKED_AT = 10_000
"""Failures that are looked at one by one."""
_NAMELESS = {ENTRY_UNREADABLE.code, ENTRY_WITHOUT_IMAGE.code}

log = logging.getLogger("lookalike.ingest")


class Accounts:
    """One run's, or one partition's of it. Without `books` it keeps and knows nothing."""

    def __init__(
        self,
        books: Books | None,
        progress: ProgressWriter,
        partition: Partition,
        *,
        only_failed: bool = False,
        of_changes: bool = False,
    ) -> None:
        self._books = books
        self._of_changes = of_changes
        self._progress = progress
        self._partition = partition
        self._only_failed = only_failed
        named = None if of_changes else os.environ.get(RUN_VARIABLE)
        self._run = named or uuid.uuid4().hex
        self._attempt = 1
        self._known: dict[str, tuple[str, str]] = {}
        """Id of each entry that has failed before -> its source and the row of its failure."""
        self._nameless: set[str] = set()
        self._seen: set[str] = set()
        self._settled: list[str] = []
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._books is None:
            log.warning("no records are kept: set gateway_url, or collection.books")
            return self
        before = await self._books.run_part(self._run, self._partition.index)
        self._attempt = 1 if before is None else before.attempt + 1
        async for id, source, code in self._books.failure_ids():
            self._known[id] = (source, code)
            if code in _NAMELESS:
                self._nameless.add(source)
        await self._save(self._progress.progress.state)
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
        if self._books is None:
            return
        state, reason, told = self._progress.progress.state, None, None
        if error is not None:
            state, reason, told = RunState.FAILED, kind_of(error).reason, str(error)
            if isinstance(error, asyncio.CancelledError):
                reason, told = "Stopped", "stopped before its end"
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self.flush()
                await self._save(state, reason, told)
                if self._partition.first:
                    await self._books.drop_old_runs()
        except Exception as failure:
            log.warning("the record of this run could not be written: %s", failure)

    @property
    def kept(self) -> bool:
        """Whether there are records."""
        return self._books is not None

    # -- failures ----------------------------------------------------------------------------------

    def lists(self, source: str, key: str) -> bool:
        """Note that the source still has an entry; whether it has failed before."""
        if not self._known or self._books is None:
            return False
        id = self._books.failure_id(source, key)
        if id not in self._known:
            return False
        self._seen.add(id)
        return True

    def has_nameless(self, source: str) -> bool:
        """Whether an entry failed that has no key of its own, such as a row that is not JSON: once
        it is corrected, it is one that nobody knows."""
        return source in self._nameless

    async def failed_keys(self, source: str) -> list[str] | None:
        """The keys of a source's failures, to look at them alone. None: they cannot be told from
        what is kept, or are so many that listing is cheaper."""
        if self._books is None or self.has_nameless(source):
            return None
        if sum(each == source for each, _ in self._known.values()) > _MOST_LOOKED_AT:
            return None
        found = []
        after: str | None = None
        while True:
            page = await self._books.failures(after=after)
            found += [each.key for each in page.items if each.source == source]
            after = page.next
            if after is None:
                break
        # What was escaped or cut, to be shown, is not the key itself.
        whole = all(key.isprintable() and "\\" not in key and "…" not in key for key in found)
        return found if whole else None

    def brought_in(self, source: str, key: str) -> None:
        """Its image is in the index now, or was found there."""
        if not self._known or self._books is None:
            return
        id = self._books.failure_id(source, key)
        if self._known.pop(id, None) is not None:
            self._settled.append(id)

    async def flush(self) -> None:
        """Write down what has failed since, and forget what no longer does."""
        failures, self._progress.unsaved = self._progress.unsaved, []
        if self._books is None:
            return
        now = now_text("milliseconds")
        entries = []
        for each in failures:
            id = self._books.failure_id(each.source, each.key)
            if id in self._known or len(self._known) < MOST_FAILURES:
                self._known[id] = (each.source, each.code)
                self._seen.add(id)
                entries.append(
                    FailedEntry(each.source, each.key, each.code, each.cause, 1, now, now)
                )
        if entries:
            await self._books.note_failures(entries)
        if self._settled:
            settled, self._settled = self._settled, []
            await self._books.settle(settled)

    async def settle_gone(self, sources: Iterable[str]) -> None:
        """Forget failures of entries that these sources, which were listed whole, no longer
        have."""
        await self.flush()
        if self._books is None:
            return
        whole = set(sources)
        gone = [
            id
            for id, (source, _) in self._known.items()
            if source in whole and id not in self._seen
        ]
        await self._books.settle(gone)

    # -- the other partitions ----------------------------------------------------------------------

    async def until_others_end(self) -> None:
        """Return when every other partition of the run has gone through.

        One that fails is tried again by its Job, or the Job ends this one, too.
        """
        if self._books is None:
            return
        left = {index for index in range(self._partition.count) if index != self._partition.index}
        while left:
            for index in sorted(left):
                part = await self._books.run_part(self._run, index)
                if part is not None and part.state.went_through:
                    left.discard(index)
            if left:
                await asyncio.sleep(_EVERY_SECONDS)

    # -- deletions ---------------------------------------------------------------------------------

    async def deletions_of(self, points: Sequence[str]) -> dict[str, Deletion]:
        """Of the documents that somebody deleted, by point id."""
        return {} if self._books is None else await self._books.deletions_of(points)

    async def rejections_of(self, points: Sequence[str]) -> dict[str, Rejection]:
        """Of images that were left out as copies of documents, by point id."""
        return {} if self._books is None else await self._books.rejections_of(points)

    async def lift(self, points: Sequence[str]) -> None:
        """Documents that were deleted are in again, since their object has changed."""
        if self._books is not None and points:
            await self._books.lift(points)

    async def forget_features(self, points: Sequence[str]) -> None:
        """Of documents that were deleted, by point id."""
        if self._books is not None and points:
            await self._books.forget_features(points)

    # ----------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self._save(self._progress.progress.state)
            except Exception as failure:  # the run itself ends if its index does not come back
                log.warning("the record of this run could not be written: %s", failure)

    async def _save(
        self, state: RunState, reason: str | None = None, message: str | None = None
    ) -> None:
        assert self._books is not None
        made = self._progress.progress
        await self._books.save_run(
            RunPart(
                run=self._run,
                part=self._partition.index,
                parts=self._partition.count,
                attempt=self._attempt,
                only_failed=self._only_failed,
                of_changes=self._of_changes,
                state=state,
                reason=reason or made.reason,
                message=message or made.message,
                started_at=made.started_at,
                updated_at=datetime.now(UTC),
                sources=made.sources,
                failures=made.failed_by,
                bytes=made.bytes,
                seconds=made.seconds,
            )
        )
