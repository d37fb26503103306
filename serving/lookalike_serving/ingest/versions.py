"""Telling what changed since the last run.

A document's fingerprint is `<image>|<metadata>`: the image's version as its source tells it (or
`sha256:…` of its bytes where listing cannot tell), and a digest of its metadata and address. So a
rerun knows without opening the image whether to leave it, to rewrite its payload, or to embed it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import Enum

from lookalike_serving.documents.build import Kept
from lookalike_serving.documents.layout import Origin
from lookalike_serving.ingest.sources import Item, Labels


class Change(Enum):
    NONE = "none"
    METADATA = "metadata"
    """Only the payload: no need to embed."""
    IMAGE = "image"
    UNKNOWN = "unknown"
    """The bytes must be looked at."""


def labels_mark(labels: Labels) -> str:
    kinds = ("m" if labels.kinds.user_metadata else "") + ("t" if labels.kinds.tags else "")
    return f"{labels.mark}{kinds}"


def kept_labels(labels: Labels, values: Mapping[str, str]) -> str:
    """As a document keeps them (`Origin.labels`)."""
    return json.dumps({"mark": labels_mark(labels), "values": values}, sort_keys=True)


def known_labels(labels: Labels, stored: Origin | None) -> Mapping[str, str] | None:
    """The labels of an object as they are now; None if the object has to be asked."""
    if labels.values is not None or stored is None or stored.labels is None:
        return labels.values
    kept = json.loads(stored.labels)
    return dict(kept["values"]) if kept["mark"] == labels_mark(labels) else None


def _has_labels(item: Item, stored: Origin) -> bool:
    """Whether the document has the labels that it should have, as far as listing tells."""
    if item.labels is None or stored.labels is None:
        return item.labels is None and stored.labels is None
    values = known_labels(item.labels, stored)
    return values is not None and values == json.loads(stored.labels)["values"]


def fingerprint(item: Item, image: str) -> str:
    """`image` is the item's version, or `sha256:…`."""
    parts = [item.metadata, item.uri, *(["exif"] if item.exif else [])]
    said = json.dumps(parts, sort_keys=True, default=str)
    return f"{image}|{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def image_part(stored: Origin) -> str:
    return stored.image_version or ""


def must_be_read(item: Item, stored: Origin, kept: Kept) -> bool:
    """Whether the picture is to tell something that it was not asked for before.

    `kept`: what the collection keeps of each picture.
    """
    return (
        (item.exif and stored.exif is None)
        or (kept.hashes and stored.copies is None)
        or (kept.features and stored.features is None)
    )


def change(item: Item, source: str, stored: Origin | None, kept: Kept = Kept()) -> Change:
    """What is to be done about an item, as far as listing tells."""
    if stored is None or stored.source != source:
        return Change.IMAGE
    if item.version is None:
        return Change.UNKNOWN
    if image_part(stored) != item.version or must_be_read(item, stored, kept):
        return Change.IMAGE
    same = stored.fingerprint == fingerprint(item, item.version) and _has_labels(item, stored)
    return Change.NONE if same else Change.METADATA
