"""Builds a document from an image, for uploads, batches and ingestion alike.

    bytes -> ImageFile (their hash) -> seen (the model's vector, what decoding found) -> document

The image is hashed and embedded once. Whoever stores the document decides where the image is kept
and what the document says about itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

from lookalike_crds.image_collection import DuplicatesSpec
from lookalike_crds.moments import now_text
from lookalike_serving.books.record import KeptFeatures
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.embed.batching import BatchedEmbedder
from lookalike_serving.embed.results import ImageFacts
from lookalike_serving.images import ImageFile
from lookalike_serving.images.decode import decode_image
from lookalike_serving.images.fetch import Validators
from lookalike_serving.index.protocol import Point, Vector


@dataclass(frozen=True, slots=True)
class Kept:
    """What a collection keeps of each picture, so that copies of it are found."""

    hashes: bool = False
    features: bool = False

    @classmethod
    def by(cls, spec: DuplicatesSpec | None) -> Self:
        return cls() if spec is None else cls(hashes=True, features=spec.features)


@dataclass(frozen=True, slots=True)
class Seen:
    """An image that was decoded and embedded."""

    file: ImageFile
    vector: Vector
    facts: ImageFacts
    hashes: str | None = None
    """`Hashes.stored()`, if the collection keeps them."""
    features: str | None = None
    """`Features.stored()`, if they were asked for."""
    copies: Vector | None = None
    """By the collection's copy model, if it has one."""

    @property
    def kept_features(self) -> KeptFeatures | None:
        return None if self.features is None else KeptFeatures(self.file.sha256, self.features)

    @property
    def format(self) -> str:
        assert self.facts.format is not None  # decoding reports it for every file
        return self.facts.format


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is ready to be written."""

    point: Point
    metadata: dict[str, Any]
    origin: Origin


async def look(
    file: ImageFile,
    embedder: BatchedEmbedder,
    *,
    copier: BatchedEmbedder | None = None,
    kept: Kept = Kept(),
    max_pixels: int,
) -> Seen:
    """Decode and embed an image. Raises ImageError, Overloaded, ModelError.

    `copier`: the copy model, if the collection has one, which then embeds it as well.
    `kept`: also make the hashes and features that copies are found by. The image is then decoded
    once more, at full size: the model sees a smaller one.
    """
    embedded = await embedder.embed_image_timed(file.data)
    assert embedded.image is not None
    copies = None if copier is None else await copier.embed_image(file.data)
    hashes = features = None
    if kept.hashes:
        hashes, features = await asyncio.to_thread(_kept, file.data, kept, max_pixels)
    return Seen(file, embedded.vector, embedded.image, hashes, features, copies)


def _kept(data: bytes, kept: Kept, max_pixels: int) -> tuple[str, str | None]:
    # Here, since it needs OpenCV, which only collections with duplicates ask for.
    from lookalike_serving.duplicates.features import Features
    from lookalike_serving.duplicates.hashes import HashedPicture

    pixels = decode_image(data, max_pixels=max_pixels).pixels
    hashes = HashedPicture(pixels).hashes.stored()
    return hashes, Features.of(pixels).stored() if kept.features else None


def image_facts(seen: Seen) -> dict[str, Any]:
    """What an Origin says of the image itself."""
    return {
        "sha256": seen.file.sha256,
        "width": seen.facts.width,
        "height": seen.facts.height,
        "format": seen.facts.format,
        "bytes": len(seen.file.data),
    }


def document(
    collection: str,
    document_id: str,
    seen: Seen,
    metadata: dict[str, Any],
    *,
    image: str,
    fingerprint: str,
    source: str | None = None,
    exif: str | None = None,
    labels: str | None = None,
    validators: Validators = Validators(),
    duplicate_of: str | None = None,
    before: Origin | None = None,
    features: int | None = None,
) -> Document:
    """The document with this id, as of now.

    `metadata` is as it was checked; `image` is where the image is kept; `before` is what is stored
    under the id so far: the document keeps the time at which it was created. `features`: the size
    of their record if they were not made again.
    """
    now = now_text("milliseconds")
    origin = Origin(
        document_id=document_id,
        image=image,
        source=source,
        fingerprint=fingerprint,
        **image_facts(seen),
        exif=exif,
        labels=labels,
        etag=validators.etag,
        last_modified=validators.last_modified,
        copies=seen.hashes,
        features=features if seen.features is None else len(seen.features),
        duplicate_of=duplicate_of,
        created_at=(before.created_at if before is not None else None) or now,
        updated_at=now,
    )
    stored = payload(metadata, origin)
    point = Point(point_id(collection, document_id), seen.vector, stored, seen.copies)
    return Document(point, metadata, origin)
