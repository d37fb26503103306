"""Telling what changed since the last run.

A document's fingerprint is `<image>|<metadata>`: the image's version as its source tells it (or
`sha256:…` of its bytes where listing cannot tell), and a digest of its metadata and address. So a
rerun knows without opening the image whether to leave it, to rewrite its payload, or to embed it.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum

from lookalike_serving.documents.layout import Origin
from lookalike_serving.ingest.sources import Item


class Change(Enum):
    NONE = "none"
    METADATA = "metadata"
    """Only the payload: no need to embed."""
    IMAGE = "image"
    UNKNOWN = "unknown"
    """The bytes must be looked at."""


def fingerprint(item: Item, image: str) -> str:
    """`image` is the item's version, or `sha256:…`."""
    parts = [item.metadata, item.uri, *(["exif"] if item.exif else [])]
    said = json.dumps(parts, sort_keys=True, default=str)
    return f"{image}|{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def image_part(stored: Origin) -> str:
    return stored.image_version or ""


def must_be_read(item: Item, stored: Origin, *, hashed: bool) -> bool:
    """Whether the picture is to tell something that it was not asked for before.

    `hashed`: the collection keeps hashes of its pictures.
    """
    return (item.exif and stored.exif is None) or (hashed and stored.copies is None)


def change(item: Item, source: str, stored: Origin | None, *, hashed: bool = False) -> Change:
    """What is to be done about an item, as far as listing tells."""
    if stored is None or stored.source != source:
        return Change.IMAGE
    if item.version is None:
        return Change.UNKNOWN
    if image_part(stored) != item.version or must_be_read(item, stored, hashed=hashed):
        return Change.IMAGE
    same = stored.fingerprint == fingerprint(item, item.version)
    return Change.NONE if same else Change.METADATA
