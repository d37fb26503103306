"""One item's work, and what its failures mean.

The table of failures distinguishes them. Some concern only the item: it fails, and the batch
continues. Others concern all items: if such a failure may pass by itself, the item is tried again
after a pause; if it does not pass, or cannot, the batch stops, and the items that were not tried
wait for a retry.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lookalike_crds.failures import IMAGE_LOST, INTERNAL, FailureKind, Retry
from lookalike_serving.batches.record import Cause, Item
from lookalike_serving.batches.staging import PREFIX, Staging
from lookalike_serving.failures import kind_of, told
from lookalike_serving.images import ImageError, ImageFile
from lookalike_serving.problems import Problem

log = logging.getLogger("lookalike.batches")

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
"""Seconds between attempts while the service itself fails: about two minutes in total."""
_FETCH_TRIES = 3

Fetch = Callable[[str], Awaitable[bytes]]
"""The bytes of an https URL. Raises ImageError."""
Store = Callable[[str, ImageFile, Item], Awaitable[tuple[str, ...]]]
"""Stores one image of a collection as the item's document; returns what decoding lost."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one item."""

    error: Cause | None = None
    """None if the item is stored."""
    warnings: tuple[str, ...] = ()
    """What was lost when its image was decoded."""


class Halted(Exception):
    """The service cannot continue with any item of the batch."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.detail)
        self.cause = cause


class Work:
    """Fetches and stores items. `slots` bounds how many are decoded and embedded at once, over all
    batches together, so that a search never waits for more than these."""

    def __init__(
        self,
        fetch: Fetch,
        store: Store,
        staging: Staging,
        slots: asyncio.Semaphore,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._fetch = fetch
        self._store = store
        self._staging = staging
        self._slots = slots
        self._pauses = pauses

    async def do(self, collection: str, item: Item, stop: asyncio.Event) -> Outcome:
        """Store the item.

        Raises Halted. `stop` ends pauses early; an item that waits for another attempt then fails.
        """
        for pause in [*self._pauses, None]:
            try:
                image = await self._image(item, stop)
                async with self._slots:
                    self._staging.check_room()
                    return Outcome(warnings=await self._store(collection, image, item))
            except asyncio.CancelledError:
                raise
            except Exception as failure:
                kind = kind_of(failure)
                cause = _cause(failure, kind)
                if not kind.concerns_all:
                    return Outcome(cause)
                if kind.retry is not Retry.LATER or pause is None or stop.is_set():
                    raise Halted(cause) from failure
                await wait(stop, pause)
        raise AssertionError("the last attempt has no pause after it")

    async def _image(self, item: Item, stop: asyncio.Event) -> ImageFile:
        if item.image.startswith(PREFIX):
            try:
                return await asyncio.to_thread(self._staging.get, item.image)
            except FileNotFoundError:
                raise Problem(
                    IMAGE_LOST,
                    "The uploaded bytes are no longer available: they were removed, or they are "
                    "with another replica that does not share its data folder. Submit the image "
                    "again.",
                ) from None
        return await asyncio.to_thread(ImageFile.of, await self._fetched(item, stop))

    async def _fetched(self, item: Item, stop: asyncio.Event) -> bytes:
        for pause in self._pauses[: _FETCH_TRIES - 1]:
            try:
                return await self._fetch(item.image)
            except ImageError as failure:
                if not failure.failure_kind.retryable or stop.is_set():
                    raise
                await wait(stop, pause)
        return await self._fetch(item.image)


def _cause(failure: Exception, kind: FailureKind) -> Cause:
    """What is recorded for the item, or for the batch that halts."""
    if kind is INTERNAL:
        log.exception("an item failed unexpectedly", exc_info=failure)
    message = told(failure)
    if kind.concerns_all and kind.retryable:
        message = f"{message.rstrip('.')}. Retry the batch when that has passed."
    return Cause(kind.code, message)


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Wait until `stop`, or for so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
