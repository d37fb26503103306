"""What a source is opened with, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.images import Reader
from lookalike_serving.ingest.together import Together


@dataclass(frozen=True, slots=True)
class Opening:
    name: str
    """The source's own."""
    mapping: MetadataMapping
    fields: tuple[FieldSpec, ...]
    """Those of the collection."""
    scratch: Path
    """A folder for files that may be thrown away."""
    reader: Reader
    """Reads bytes by their address."""
    secrets: Path | None = None
    """The folder that has one folder for each Secret that a source names."""
    together: Together | None = None
    """With the processes that read buckets together with this one."""
