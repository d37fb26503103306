"""What a file tells without being opened: parts of its path, and what the folder says of it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lookalike_crds.moments import utc_text
from lookalike_crds.path_pattern import compiled, names_of
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.documents.ids import canonical

FILE = "file"
"""The metadata key that what the folder says is under."""
OFF_PATTERN = "its path is not as metadata.pathPattern says"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an image before any table is asked."""

    parts: dict[str, str] = field(default_factory=dict)
    """Of its path, by name: texts, which are read as a cell of a table is."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Metadata as it is."""
    matches: bool = True
    """Whether its path is as the pattern says."""


NOTHING = Known()


class FileFacts:
    """Applies one MetadataMapping to files of one folder."""

    def __init__(self, mapping: MetadataMapping) -> None:
        pattern = mapping.path_pattern
        self._match = None if pattern is None else compiled(canonical(pattern))
        self._info = mapping.file_info

    def of(self, key: str, size: int | None, modified: float) -> Known:
        """Of the file whose path within the source is `key`. `size`: bytes, if they are known;
        `modified`: seconds since 1970."""
        parts = self._match(canonical(key)) if self._match is not None else {}
        facts = {FILE: _info(key, size, modified)} if self._info else {}
        return Known(parts or {}, facts, matches=parts is not None)


def _info(key: str, size: int | None, at: float) -> dict[str, Any]:
    folder, name = posixpath.split(canonical(key))
    told: dict[str, Any] = {"name": name, "folder": folder}
    if size is not None:
        told["bytes"] = size
    try:
        modified = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):  # of a disk whose clock was never set
        return told
    return {**told, "modified_at": utc_text(modified, "seconds")}


def names_id(mapping: MetadataMapping) -> bool:
    """Whether the document id is a part of the path."""
    pattern = mapping.path_pattern
    return pattern is not None and mapping.document_id in names_of(pattern)
