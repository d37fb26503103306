"""Which versions of a Qdrant server are supported, and what the older ones of them lack.

Servers are often older than the client library, which says nothing of it.
"""

from __future__ import annotations

import re

Version = tuple[int, int]

OLDEST: Version = (1, 16)
"""Keeps metadata of a collection, without which no index can be told from another's."""
SINCE: dict[str, Version] = {"starts_with": (1, 19), "contains": (1, 20)}
"""Filter operators that came later."""


def parsed(version: str | None) -> Version | None:
    """Major and minor of `1.19.0`; None if it says neither."""
    found = re.match(r"v?(\d+)\.(\d+)", version or "")
    return None if found is None else (int(found[1]), int(found[2]))


def lacking(version: Version | None) -> list[str]:
    """Operators that a server of this version does not know."""
    return [name for name, since in SINCE.items() if version is not None and version < since]


def too_old(version: Version | None) -> bool:
    return version is not None and version < OLDEST


def written(version: Version) -> str:
    return ".".join(str(part) for part in version)
