"""Where images come from, behind one protocol."""

from __future__ import annotations

from pathlib import Path

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.sources import SourceSpec
from lookalike_serving.images import Reader
from lookalike_serving.ingest.sources.manifest import ManifestSource
from lookalike_serving.ingest.sources.protocol import (
    Caution,
    Entry,
    Item,
    LeftOut,
    Rejected,
    Skipped,
    Source,
    SourceError,
    SourceNotBuilt,
)
from lookalike_serving.ingest.sources.volume import VolumeSource

__all__ = [
    "Caution",
    "Entry",
    "Item",
    "LeftOut",
    "Rejected",
    "Skipped",
    "Source",
    "SourceError",
    "SourceNotBuilt",
    "open_source",
]


def open_source(
    spec: SourceSpec, fields: tuple[FieldSpec, ...], scratch: Path, reader: Reader
) -> Source:
    """The source a spec describes. `scratch` is a folder for files that may be thrown away.

    Raises SourceNotBuilt for a kind that this version does not read.
    """
    if spec.volume is not None:
        return VolumeSource(spec.name, spec.volume, spec.metadata, fields, scratch)
    if spec.urls is not None:
        return ManifestSource(spec.name, spec.urls, spec.metadata, fields, reader, scratch)
    kind = next(k for k in ("s3", "gcs", "azure_blob") if getattr(spec, k) is not None)
    raise SourceNotBuilt(
        f"source {spec.name}: {kind} comes with a later version; until then, list the images' "
        "https:// addresses in a manifest and use urls"
    )
