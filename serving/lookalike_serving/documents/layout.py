"""How a document is stored in an index: the layout of its payload, in one place.

A document is one point of the index. Its payload is the user's metadata at the top level – so that
anyone who opens the collection with Qdrant's own tools finds `status` where they put it – and one
reserved key, `_lookalike`, with what Lookalike itself needs to know. Numbers that engines would
change have their exact form there, too (index/floats.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lookalike_crds import payload_indexes
from lookalike_serving.index.floats import restore, settle

RESERVED = payload_indexes.RESERVED

_FLOATS = "floats"


@dataclass(frozen=True, slots=True)
class Origin:
    """Lookalike's own part of a payload: where the image came from and what it was."""

    document_id: str
    image: str
    """Address of the image: `file:///…`, `https://…`, `s3://…`, or `upload:<sha256>.<ext>`."""
    source: str | None = None
    """The name of the source that it came from; None for direct uploads."""
    fingerprint: str | None = None
    """Changes when the image or its metadata changes (see ingest/versions.py): reruns skip
    documents with the same value.
    """
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    bytes: int | None = None
    exif: str | None = None
    """What was read from the picture's EXIF block, as JSON: its metadata is made again from it
    when the source says something else. None if the source does not ask for it."""
    labels: str | None = None
    """User metadata and tags of the object in its bucket, as JSON (`ingest/versions.py`). None if
    the source does not ask for them."""
    copies: str | None = None
    """Hashes by which copies of the image are found (`duplicates/hashes.py`)."""
    features: int | None = None
    """Bytes of the record in the collection's books by which the image is compared without being
    opened (`duplicates/features.py`). None: there is none."""
    duplicate_of: str | None = None
    """Id of the document whose picture was there when this one was uploaded as a copy of it."""
    etag: str | None = None
    last_modified: str | None = None
    """What the server of an image of the web told of it, as it was written."""
    created_at: str | None = None
    updated_at: str | None = None
    """RFC 3339, UTC."""

    @property
    def image_version(self) -> str | None:
        """Of the object that its source brought it from: what the source tells, or `sha256:…`.
        None for an upload."""
        if self.source is None or self.fingerprint is None:
            return None
        return self.fingerprint.partition("|")[0]


def payload(metadata: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """The point's payload. Raises ValueError if metadata uses the reserved key."""
    if RESERVED in metadata:
        raise ValueError(f"metadata key {RESERVED!r} is reserved: rename it")
    stored, kept = settle(metadata)
    own = {k: v for k, v in asdict(origin).items() if v is not None}
    return {**stored, RESERVED: {**own, _FLOATS: kept} if kept else own}


def split(stored: dict[str, Any]) -> tuple[dict[str, Any], Origin]:
    """A stored payload as (metadata, origin)."""
    metadata = metadata_of(stored)
    known = Origin.__dataclass_fields__
    return metadata, Origin(**{k: v for k, v in stored[RESERVED].items() if k in known})


def metadata_of(stored: dict[str, Any]) -> dict[str, Any]:
    """The user's part of a stored payload, or of some keys of one, as it was given."""
    metadata = {k: v for k, v in stored.items() if k != RESERVED}
    kept = stored.get(RESERVED, {}).get(_FLOATS)
    return restore(metadata, kept) if kept else metadata
