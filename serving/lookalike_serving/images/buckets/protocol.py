"""What a client of one bucket can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Listed:
    """One object, as listing tells it."""

    key: str
    bytes: int
    modified: datetime
    """With its time zone."""
    version: str
    """Changes when the object does."""
    archived: str | None = None
    """The storage class, if nothing can be read from it."""


class ObjectStore(Protocol):
    """One bucket. Usable from one event loop; no method blocks it."""

    def list(self, prefix: str, start_after: str | None = None) -> AsyncIterator[Sequence[Listed]]:
        """The objects whose key begins with `prefix`, a page at a time, in the order of keys.

        Raises BucketError.
        """
        ...

    async def look(self, key: str) -> Listed | None:
        """One object, as listing would tell it; None if it does not exist. Raises BucketError."""
        ...

    async def read(self, key: str, most: int) -> bytes:
        """An object's bytes.

        Raises ImageError for what concerns the object alone – `not_found`, `archived`, `too_large`
        – and BucketError for what concerns the bucket.
        """
        ...

    async def size(self, key: str) -> int:
        """Of an object, in bytes. Raises what `read` raises."""
        ...

    async def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes of an object from `start`. Raises what `read` raises."""
        ...
