"""Where images come from, behind one protocol: one file for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.source_kinds import (
    AzureBlobSource,
    GcsSource,
    Kind,
    S3Source,
    UrlsSource,
    VolumeSource,
)
from lookalike_crds.sources import SourceSpec
from lookalike_serving.images import Reader
from lookalike_serving.ingest.sources.bucket import open_bucket_source
from lookalike_serving.ingest.sources.manifest import open_manifest
from lookalike_serving.ingest.sources.opening import Opening
from lookalike_serving.ingest.sources.protocol import (
    Caution,
    Entry,
    Gone,
    Item,
    KeyedSource,
    Labels,
    LeftOut,
    Rejected,
    Seen,
    Skipped,
    Source,
    SourceError,
)
from lookalike_serving.ingest.sources.volume import open_volume
from lookalike_serving.ingest.together import Together

__all__ = [
    "Caution",
    "Entry",
    "Gone",
    "Item",
    "KeyedSource",
    "Labels",
    "LeftOut",
    "Opening",
    "Rejected",
    "Seen",
    "Skipped",
    "Source",
    "SourceError",
    "open_source",
]

OPENERS: Mapping[type[Kind], Callable[[Any, Opening], Source]] = {
    VolumeSource: open_volume,
    UrlsSource: open_manifest,
    S3Source: open_bucket_source,
    GcsSource: open_bucket_source,
    AzureBlobSource: open_bucket_source,
}


def open_source(
    spec: SourceSpec,
    fields: tuple[FieldSpec, ...],
    scratch: Path,
    reader: Reader,
    secrets: Path | None = None,
    together: Together | None = None,
) -> Source:
    """The source that a spec describes. `scratch` is a folder for files that may be thrown away;
    `secrets` has one folder for each Secret that a source names; `together` shares
    what is read of its bucket with other processes.
    """
    opening = Opening(spec.name, spec.metadata, fields, scratch, reader, secrets, together)
    return OPENERS[type(spec.kind)](spec.kind, opening)
