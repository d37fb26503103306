"""Pictures of documents, read and compared in a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from cachetools import LRUCache

from lookalike_serving.duplicates.compare import Picture, StoredPicture, compare, exact
from lookalike_serving.duplicates.hashes import Hashes
from lookalike_serving.duplicates.thresholds import Thresholds
from lookalike_serving.duplicates.verdicts import Verdict
from lookalike_serving.images.decode import decode_image
from lookalike_serving.scans.record import Pair, Scanned

_KEPT = 48
"""Pictures that are kept to be compared again: some megabytes each, with their keypoints."""

P = ParamSpec("P")
T = TypeVar("T")
Read = Callable[[str], Awaitable[bytes]]
"""The bytes of an image by its address. Raises ImageError."""
FeaturesOf = Callable[[Scanned], Awaitable[str | None]]
"""What is kept of a document's image. Raises IndexFailure."""


class Pictures:
    """`max_pixels`: of an image. Searches go on meanwhile: one thread does all of it."""

    def __init__(
        self, read: Read, features_of: FeaturesOf, thresholds: Thresholds, max_pixels: int
    ) -> None:
        self._read = read
        self._features_of = features_of
        self._thresholds = thresholds
        self._max_pixels = max_pixels
        self._thread = ThreadPoolExecutor(1, "duplicate scan")
        self._kept: LRUCache[str, StoredPicture] = LRUCache(_KEPT)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def picture(self, document: Scanned) -> StoredPicture:
        """By its features, or else by its image. Raises ImageError."""
        found = self._kept.get(document.point)
        if found is None and document.features:
            stored = await self._features_of(document)
            found = await self.in_thread(_by_features, document, stored)
        if found is None:
            data = await self._read(document.image)
            found = await self.in_thread(self._made, data)
        self._kept[document.point] = found
        return found

    async def compared(self, a: tuple[int, Scanned], b: tuple[int, Scanned]) -> Pair | None:
        """What two documents, with their numbers, have to do with each other. Raises ImageError.

        The larger is the document of the evidence, and the other one the query: copies are mostly
        smaller, and what was done to the larger is told.
        """
        query, document = sorted((a, b), key=lambda each: (each[1].width * each[1].height, each[0]))
        if same_pixels(query[1], document[1]):
            told = exact()
        else:
            pictures = await self.picture(query[1]), await self.picture(document[1])
            told = await self.in_thread(compare, *pictures, self._thresholds)
        if told.verdict not in (Verdict.EXACT, Verdict.COPY):
            return None
        return Pair(query[0], document[0], told.verdict, told.confidence, told.evidence.as_json())

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in the thread of the scan."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(call, *args, **kwargs))

    def _made(self, data: bytes) -> Picture:
        picture = Picture(decode_image(data, max_pixels=self._max_pixels).pixels)
        _ = picture.hashes, picture.variants  # here, and not where they are needed
        return picture


def _by_features(document: Scanned, stored: str | None) -> StoredPicture | None:
    """None if they cannot be used."""
    picture = StoredPicture.kept(stored, document.hashes, document.width, document.height)
    if picture is not None:
        _ = picture.variants
    return picture


def same_pixels(a: Scanned, b: Scanned) -> bool:
    one, other = Hashes.read(a.hashes), Hashes.read(b.hashes)
    return one is not None and other is not None and one.content == other.content
