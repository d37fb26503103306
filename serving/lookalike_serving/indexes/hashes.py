"""The hashes that the documents of one index keep, in memory, to be searched by Hamming distance.

They are read from the payloads when they are first asked for, page by page in the background, and
noted from then on when this process writes documents. What other processes write to a Qdrant server
is found by reading again. Whoever finds a document here reads its payload before relying on it:
an entry that is out of date costs a look, and never gives a wrong answer.

About 250 bytes for each document: 72 of hashes, the rest for finding its place by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from lookalike_crds.failures import DUPLICATES_NOT_INSTALLED
from lookalike_crds.payload_indexes import RESERVED
from lookalike_serving.duplicates.hamming import nearest, no_codes, with_room
from lookalike_serving.embed.protocol import PackageMissing
from lookalike_serving.index.protocol import Index, IndexFailure, Point
from lookalike_serving.problems import Problem

if TYPE_CHECKING:
    from lookalike_serving.duplicates.chance import Chance
    from lookalike_serving.duplicates.hashes import HashedPicture, Hashes

log = logging.getLogger("lookalike.hashes")

_KEY, _SIZE = "copies", "features"
_STORED = f"{RESERVED}.{_KEY}", f"{RESERVED}.{_SIZE}"
_PAGE = 1000
_PATIENCE = 2.0
"""Seconds that a question waits for the first reading."""
_AGAIN_AFTER = 30.0
"""Seconds after which the number of documents is compared again."""
_ANEW_AFTER = 600.0
"""Seconds after which all are read again even if there are as many as before."""
_WORDS = 9
"""Of 64 bits: the content's first, four of PDQ, four of the middle's PDQ."""
_CONTENT, _WHOLE, _MIDDLE = slice(0, 1), slice(1, 5), slice(5, 9)


def can_compare() -> bool:
    """Whether pictures can be compared here."""
    return find_spec("cv2") is not None


def check_installed() -> None:
    """Raises PackageMissing if pictures cannot be compared here."""
    if not can_compare():
        raise PackageMissing(
            "spec.duplicates needs OpenCV, which is not installed: "
            "pip install 'lookalike[duplicates,serving]'"
        )


def check_comparing() -> None:
    """Raises Problem 501 if pictures cannot be compared here."""
    if not can_compare():
        raise Problem(
            DUPLICATES_NOT_INSTALLED,
            "Finding copies and duplicates needs OpenCV: install lookalike[duplicates], or use the "
            "serving image.",
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of how many documents there are hashes."""

    hashed: int
    documents: int
    complete: bool
    """False while they are being read."""
    featured: int = 0
    """Of how many there are features as well."""
    feature_bytes: int = 0
    """Of all of these together."""


@dataclass(frozen=True, slots=True)
class NearHash:
    id: str
    """Of the point."""
    distance: int
    """Of PDQ hashes; 0 for equal pixels."""


class StoredHashes:
    """The hashes of one index. All methods but `search` are for its event loop."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._codes = no_codes(_WORDS)
        self._ids: list[int] = []
        self._sizes = array("I")
        """Bytes of each document's features."""
        self._places: dict[int, int] = {}
        self._lock = threading.Lock()
        self._reading: asyncio.Task[None] | None = None
        self._read_at = 0.0
        self._compared_at = 0.0
        self._documents = 0
        self._seen: set[int] = set()
        """Documents that were there since the present reading began."""
        self.deciding = asyncio.Lock()
        """Held while it is decided whether a new picture is there already."""
        self.chance: Chance | None = None
        """How alike different pictures are, as it was read or measured last."""
        self.chance_checked_at = 0.0
        """When that was compared with the number of documents (monotonic)."""
        self.measuring = asyncio.Lock()
        """Held while it is measured."""

    async def ready(self) -> Coverage:
        """Read what has not been read yet; returns after a moment even if that takes longer.

        Raises IndexFailure.
        """
        now = time.monotonic()
        if self._reading is None and await self._is_old(now):
            self._reading = asyncio.create_task(self._read())
        reading = self._reading
        if reading is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(reading), _PATIENCE)
        complete = self._reading is None
        hashed = len(self._places)
        sizes = np.frombuffer(self._sizes, np.uint32) if hashed else np.zeros(0, np.uint32)
        return Coverage(
            hashed,
            max(self._documents, hashed),
            complete,
            int(np.count_nonzero(sizes)),
            int(sizes.sum()),
        )

    def note(self, points: Iterable[Point]) -> None:
        """Documents were written."""
        if not self._read_at and self._reading is None:
            return  # nobody has asked yet
        for point in points:
            if self._reading is not None:
                self._seen.add(UUID(point.id).int)
            self._note(point.id, point.payload.get(RESERVED))

    def forget(self, ids: Iterable[str]) -> None:
        """Documents were deleted."""
        for id in ids:
            self._drop(UUID(id).int)

    def search(self, picture: HashedPicture, radius: int, limit: int) -> list[NearHash]:
        """The documents whose hashes are near, equal pixels first. About 20 ms for a million."""
        from lookalike_serving.duplicates.hashes import MIDDLE, Position

        with self._lock:
            codes, count = self._codes, len(self._ids)
        content = np.frombuffer(picture.hashes.content[:8], np.uint64)
        found = dict.fromkeys(nearest(codes[_CONTENT, :count], content, 0), 0)
        variants = picture.variants
        asked = [
            (_WHOLE, [each.pdq for each in variants]),
            (
                _MIDDLE,
                [
                    each.pdq
                    for each in variants
                    if each.part != MIDDLE
                    and each.position in (Position.UPRIGHT, Position.MIRRORED)
                ],
            ),
        ]
        for words, queries in asked:
            if queries:
                near = nearest(codes[words, :count], np.stack(queries), radius)
                for place, distance in near.items():
                    found[place] = min(distance, found.get(place, radius))
        best = sorted(found.items(), key=lambda each: each[1])[:limit]
        with self._lock:
            # A place may hold another document by now: whoever asks looks at what it names.
            return [
                NearHash(str(UUID(int=self._ids[place])), distance)
                for place, distance in best
                if place < len(self._ids)
            ]

    async def _is_old(self, now: float) -> bool:
        if not self._read_at or now - self._read_at > _ANEW_AFTER:
            return True
        if now - self._compared_at < _AGAIN_AFTER:
            return False
        self._compared_at = now
        return (await self._index.info()).points != self._documents

    async def _read(self) -> None:
        documents, after = 0, None
        self._seen = set()
        try:
            while True:
                page = await self._index.scroll(limit=_PAGE, after=after, with_payload=_STORED)
                documents += len(page.records)
                for record in page.records:
                    self._seen.add(UUID(record.id).int)
                    self._note(record.id, record.payload.get(RESERVED))
                after = page.next
                if after is None:
                    break
            for gone in [key for key in self._places if key not in self._seen]:
                self._drop(gone)
            self._documents = documents
            self._read_at = self._compared_at = time.monotonic()
        except IndexFailure as failure:
            log.warning("the hashes of documents could not be read: %s", failure)
        finally:
            self._reading = None
            self._seen = set()

    def _note(self, id: str, stored: object) -> None:
        """`stored`: Lookalike's own part of the payload."""
        own = stored if isinstance(stored, dict) else {}
        hashes = _parsed(own.get(_KEY))
        key = UUID(id).int
        with self._lock:
            place = self._places.get(key)
            if hashes is None:
                if place is not None:  # it has none any more
                    self._remove(key)
                return
            if place is None:
                place = len(self._ids)
                self._codes = with_room(self._codes, place)
                self._ids.append(key)
                self._sizes.append(0)
                self._places[key] = place
            packed = hashes.content[:8] + hashes.pdq + hashes.middle_pdq
            row = np.frombuffer(packed, np.uint64).copy()
            if hashes.flat:  # its perceptual hashes say nothing
                row[_WHOLE] = row[_MIDDLE] = _FAR
            self._codes[:, place] = row
            self._sizes[place] = own.get(_SIZE) or 0

    def _drop(self, key: int) -> None:
        with self._lock:
            if key in self._places:
                self._remove(key)

    def _remove(self, key: int) -> None:
        """The last one takes its place, so that there are no gaps. The lock is held."""
        place = self._places.pop(key)
        last, size = self._ids.pop(), self._sizes.pop()
        if last != key:
            self._sizes[place] = size
            self._codes[:, place] = self._codes[:, len(self._ids)]
            self._ids[place] = last
            self._places[last] = place


_FAR = np.uint64(0)
"""PDQ sets half of its bits: nothing is within 47 bits of none."""


def _parsed(stored: object) -> Hashes | None:
    if stored is None:
        return None
    from lookalike_serving.duplicates.hashes import Hashes

    return Hashes.read(stored)
