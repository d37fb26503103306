"""One run shared out to several processes that know nothing of each other.

Each lists everything and handles its own documents alone: those whose id falls to it. So the
processes need no queue between them, each can be run again by itself, and no document is anybody
else's. Listing is cheap beside embedding; each process opens only its own images.
"""

from __future__ import annotations

import re
import uuid
import zlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Partition:
    """The `index`-th of `count` shares, counted from 0."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Partition:
        """From `i/N`. Raises ValueError."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or int(found[1]) >= int(found[2]):
            raise ValueError(f"{text!r} is no partition: give i/N, where i is from 0 to N - 1")
        return cls(int(found[1]), int(found[2]))

    @property
    def whole(self) -> bool:
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether it tells what concerns all of them, once."""
        return self.index == 0

    def has(self, point: str) -> bool:
        """Whether a document is in it, by its point id: UUIDv5, a hash of the document's id."""
        return uuid.UUID(point).int % self.count == self.index

    def has_entry(self, key: str) -> bool:
        """Whether it reports an entry that has no document id."""
        return zlib.crc32(key.encode()) % self.count == self.index


WHOLE = Partition(0, 1)
