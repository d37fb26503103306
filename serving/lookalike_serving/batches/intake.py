"""From submissions to stored items: positions, document ids, staged bytes.

A batch is accepted as a whole or not at all. If something is wrong with the request – an unknown
key, metadata of the wrong type, one id twice – it is refused, every error is listed, and nothing
stays behind. If something is wrong with an image – invalid base64, no bytes – only that item fails,
as it would if the bytes came from a URL.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from lookalike_crds.config import CollectionConfig
from lookalike_serving.batches.record import (
    MAX_ITEMS,
    Cause,
    Item,
    ItemState,
    Order,
    Progress,
)
from lookalike_serving.batches.staging import Staging
from lookalike_serving.batches.store import CHUNK, BatchStore
from lookalike_serving.batches.submission import Reading, Staged, Submission, too_many
from lookalike_serving.copies.upload import OnDuplicate
from lookalike_serving.documents import ids
from lookalike_serving.documents.metadata import checked_metadata
from lookalike_serving.images import ImageError, ImageFile
from lookalike_serving.images.reader import is_remote
from lookalike_serving.problems import Problem, Wrong, invalid

_MAX_ERRORS = 50

Inline = Callable[[str], Awaitable[bytes]]
"""The bytes of a data URL or of base64. Raises ImageError."""


class Intake:
    """Accepts the items of one batch. `taken` and `progress` say what was accepted."""

    def __init__(
        self,
        order: Order,
        collection: CollectionConfig,
        store: BatchStore,
        staging: Staging,
        inline: Inline,
    ) -> None:
        self._order = order
        self._collection = collection
        self._store = store
        self._staging = staging
        self._inline = inline
        self._ids: set[str] = set()
        self._repetitions: Counter[str] = Counter()
        self._errors: list[Wrong] = []
        self._pending: list[Item] = []
        self._digest = hashlib.sha256()
        self._failed = 0
        self._place: str | None = None
        self.taken = 0

    async def stage(self, number: int, image: bytes) -> Staged:
        """Keep the bytes of a file part."""
        return await asyncio.to_thread(self._put, f"part-{number}", image)

    async def take(self, reading: Reading) -> None:
        """Accept every item.

        Raises Problem if the request is wrong: then nothing may stay behind.
        """
        async for submission in reading.items:
            if self.taken == MAX_ITEMS:
                raise too_many()
            await self._add(submission)
            self.taken += 1
        if self.taken == 0:
            raise invalid([Wrong("items", "is empty: a batch has 1 image or more")])
        if self._errors:
            raise invalid(self._errors)
        await self._flush()

    @property
    def order(self) -> Order:
        """The order, now that its size and content are known."""
        return replace(
            self._order,
            total=self.taken,
            request_digest=self._digest.hexdigest(),
            place=self._place,
        )

    @property
    def progress(self) -> Progress:
        return Progress(failed=self._failed, untried=self.taken - self._failed)

    async def _add(self, submission: Submission) -> None:
        if (errors := self._faults(submission)) or submission.item is None:
            self._errors += errors[: _MAX_ERRORS - len(self._errors)]
            return
        if self._errors:
            return  # already refused: only further errors are of interest
        asked = submission.item
        reference, content_key, error = await self._image(submission)
        document_id = asked.document_id or self._free_id(content_key)
        item = Item(
            batch=self._order.id,
            position=self.taken,
            document_id=document_id,
            image=reference,
            metadata=asked.metadata,
            on_duplicate=None if asked.on_duplicate is OnDuplicate.ALLOW else asked.on_duplicate,
        )
        if error is not None:
            item = replace(item, outcome=ItemState.FAILED, attempt=1, error=error)
            self._failed += 1
        self._pending.append(item)
        told = [asked.document_id, content_key, asked.metadata]
        if asked.on_duplicate is not OnDuplicate.ALLOW:
            told.append(asked.on_duplicate)
        self._digest.update(json.dumps(told, sort_keys=True).encode() + b"\n")
        if len(self._pending) == CHUNK:
            await self._flush()

    def _faults(self, submission: Submission) -> list[Wrong]:
        if submission.item is None or submission.errors:
            return list(submission.errors)
        path, item = submission.path, submission.item
        errors: list[Wrong] = []
        try:
            checked_metadata(item.metadata, self._collection.fields, path=f"{path}.metadata")
        except Problem as problem:
            errors += problem.errors
        try:
            if item.document_id is not None:
                item.document_id = ids.asked(item.document_id, f"{path}.document_id")
        except Problem as problem:
            errors += problem.errors
        if item.file is not None and submission.staged is None:
            message = (
                "names a part of a multipart body, and this body is not multipart: write `image`"
            )
            errors.append(Wrong(f"{path}.file", message))
        if item.document_id is not None:
            if item.document_id in self._ids:
                message = (
                    f"{item.document_id!r:.80} occurs more than once in the batch: give each "
                    "item its own id"
                )
                errors.append(Wrong(f"{path}.document_id", message))
            self._ids.add(item.document_id)
        return errors

    async def _image(self, submission: Submission) -> tuple[str, str, Cause | None]:
        """(reference, SHA-256 of what the caller sent, why it cannot be an image)."""
        if submission.staged is not None:
            return submission.staged.reference, submission.staged.sha256, None
        value = ((submission.item and submission.item.image) or "").strip()
        if is_remote(value):
            return value, hashlib.sha256(value.encode()).hexdigest(), None
        try:
            image = await self._inline(value)
        except ImageError as failure:
            digest = hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()
            return "", digest, Cause(failure.failure_kind.code, failure.message)
        staged = await asyncio.to_thread(self._put, f"item-{self.taken}", image)
        return staged.reference, staged.sha256, None

    def _put(self, name: str, image: bytes) -> Staged:
        file = ImageFile.of(image)
        return Staged(self._staging.put(self._order.id, name, file), file.sha256)

    def _free_id(self, content_key: str) -> str:
        repetition = self._repetitions[content_key]
        self._repetitions[content_key] += 1
        return ids.generated(content_key, repetition)

    async def _flush(self) -> None:
        """Writes the bytes before the items that need them."""
        staged = [item.image for item in self._pending if item.image.startswith("staged:")]
        if staged:
            self._place = self._staging.place
            await asyncio.to_thread(self._staging.sync, staged)
        await self._store.save_items(self._pending)
        self._pending = []
