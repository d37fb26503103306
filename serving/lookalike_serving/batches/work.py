"""One item's work, and what its failures mean.

A failure is the image's own (this item fails, the batch goes on), of the moment (tried again after
a pause), or the service's (a full disk, an index that stays away: the batch stops, and the items
it has not tried wait for a retry). Told apart here and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lookalike_serving.batches.record import Cause, Item
from lookalike_serving.batches.staging import PREFIX, Staging
from lookalike_serving.embed import ModelError, Overloaded
from lookalike_serving.images import Code, ImageError
from lookalike_serving.index.protocol import IndexFailure, IndexFull, IndexRefused
from lookalike_serving.problems import Problem

log = logging.getLogger("lookalike.batches")

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
"""Seconds between tries while the service itself is unwell: about two minutes in all."""
_FETCH_TRIES = 3
_PASSING = frozenset({Code.UNREACHABLE, Code.TIMEOUT})
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})

Fetch = Callable[[str], Awaitable[bytes]]
"""The bytes of an https URL. Raises ImageError."""
Store = Callable[[str, bytes, Item], Awaitable[tuple[str, ...]]]
"""Stores one image of a collection as the document that the item says; what was lost by it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one item."""

    error: Cause | None = None
    """None: it is stored."""
    warnings: tuple[str, ...] = ()
    """What was lost when its image was decoded."""


class Halted(Exception):
    """The service cannot go on with any item of the batch."""

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
        """Store the item. Raises Halted.

        `stop` cuts pauses short; what was to be tried again then fails.
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
                cause, passing = judge(failure)
                if not passing:
                    return Outcome(cause)
                if pause is None or stop.is_set():
                    raise Halted(cause) from failure
                await wait(stop, pause)
        raise AssertionError("the last try has no pause after it")

    async def _image(self, item: Item, stop: asyncio.Event) -> bytes:
        if item.image.startswith(PREFIX):
            return await asyncio.to_thread(self._staging.get, item.image)
        for pause in self._pauses[: _FETCH_TRIES - 1]:
            try:
                return await self._fetch(item.image)
            except ImageError as failure:
                if failure.code not in _PASSING or stop.is_set():
                    raise
                await wait(stop, pause)
        return await self._fetch(item.image)


def judge(failure: Exception) -> tuple[Cause, bool]:
    """(why, whether it may pass). Raises Halted where it cannot pass and is not the item's."""
    match failure:
        case ImageError():
            return Cause(f"image-{failure.code.replace('_', '-')}", failure.message), False
        case IndexRefused():
            return Cause("index-refused", str(failure)), False
        case IndexFull():
            told = f"{failure}. Then retry the batch."
            raise Halted(Cause("storage-failed", told)) from failure
        case IndexFailure():
            return Cause("index-unavailable", f"{failure}. Retry the batch when it answers."), True
        case Overloaded():
            return Cause("too-many-requests", str(failure)), True
        case ModelError():
            return Cause("model-unavailable", f"{failure}. Retry the batch when it runs."), True
        case Problem(status=404):
            raise Halted(Cause(failure.code, failure.detail)) from failure
        case Problem(status=status):
            return Cause(failure.code, failure.detail), status >= 500
        case FileNotFoundError():
            return Cause(
                "image-lost",
                "The uploaded bytes are no longer here: they were removed, or another replica took "
                "them and its data folder is not shared. Submit the image again.",
            ), False
        case OSError(errno=number) if number in _DISK:
            raise Halted(
                Cause(
                    "storage-failed",
                    f"The data folder cannot be written: {failure.strerror}. Make room, then "
                    "retry the batch.",
                )
            ) from failure
        case _:
            log.exception("an item failed unexpectedly", exc_info=failure)
            return Cause(
                "internal",
                f"Something failed that should not ({type(failure).__name__}): the cause is in "
                "the server's log.",
            ), False


async def wait(stop: asyncio.Event, seconds: float) -> None:
    """Until `stop`, or for so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
