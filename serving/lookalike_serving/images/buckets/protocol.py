"""What a client of one bucket can do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LabelKinds:
    """Which labels of objects are asked for. False if none is."""

    user_metadata: bool = False
    """What was stored with the object: `x-amz-meta-*`, custom metadata, blob metadata."""
    tags: bool = False
    """What can be changed without the object: object tags, blob index tags."""

    def __bool__(self) -> bool:
        return self.user_metadata or self.tags


NO_LABELS = LabelKinds()


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
    labels: Mapping[str, str] | None = None
    """Those that the store was opened for, if the service tells them in a listing."""


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

    async def labels(self, key: str) -> Mapping[str, str]:
        """The labels of an object that the store was opened for; a tag hides user metadata of the
        same name. One call for each kind. Raises what `read` raises."""
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

    async def write(self, key: str, content: Path | bytes) -> None:
        """Replace an object by a file, in parts if it is large, or by some bytes: readers see the
        old object or the whole new one. Raises BucketError."""
        ...
