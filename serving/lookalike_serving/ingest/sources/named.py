"""Which objects a manifest names, as it was when it was last gone through.

An object of a bucket may be named by any manifest of its collection, which only going through the
manifest tells. What that told is kept as one hash for each row, for as long as the manifest stays
as it is. Two keys with one hash have a manifest gone through that need not be, and nothing worse.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_FEW = 1000
"""Rows that are read in some milliseconds, far sooner than a process has started."""
MOST = 4_000_000
"""Rows of which the hashes are kept: 32 MB."""


@dataclass(frozen=True, slots=True)
class Named:
    """The keys that the rows of a manifest name."""

    version: str
    """Of the manifest."""
    hashes: NDArray[np.uint64]
    """(n,), sorted."""

    @classmethod
    def of(cls, version: str, hashes: array[int]) -> Named:
        return cls(version, np.unique(np.frombuffer(hashes, dtype=np.uint64)))

    def any_of(self, keys: Iterable[str]) -> bool:
        """Whether a row names one of these."""
        asked = np.array([hashed(key) for key in keys], dtype=np.uint64)
        at = np.searchsorted(self.hashes, asked)
        found = at < len(self.hashes)
        return bool(np.any(self.hashes[at[found]] == asked[found]))

    @property
    def few(self) -> bool:
        return len(self.hashes) <= _FEW


def hashed(key: str) -> int:
    """64 bits."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
