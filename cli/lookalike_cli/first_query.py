"""A first search to propose once a server is up: one that finds something in what is there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_cli.rendering import absolute
from lookalike_crds.image_collection import FieldType, Provider
from lookalike_serving.ingest.sources.file_names import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from lookalike_crds.load import Loaded
    from lookalike_crds.resources import ImageCollection

CATALOGUE = '"red striped mug"'
"""What the demo model knows, and the demo catalogue has."""
_CATALOGUE_FIELDS = frozenset({"kind", "colour", "pattern", "maker"})
_ANY_WORDS = '"something red"'
_LONGEST_WORDS = 60


def first_query(
    loaded: Loaded,
    resource: ImageCollection,
    *,
    knows_words: bool,
    document_id: str | None,
    metadata: Mapping[str, Any],
) -> str:
    """What to write after `lookalike search`. `document_id`, `metadata`: of a document that is in
    the collection, if there is one."""
    spec = resource.spec
    demo = spec.model.provider is Provider.DEMO
    if demo and {field.name for field in spec.fields} >= _CATALOGUE_FIELDS:
        return CATALOGUE
    if knows_words and not demo:
        texts = [f.name for f in spec.fields if f.type is FieldType.TEXT]
        texts += [f.name for f in spec.fields if f.type is FieldType.KEYWORD]
        return _words(metadata.get(name) for name in texts) or _ANY_WORDS
    folders = [
        absolute(source.volume.path, loaded.folder_of(resource))
        for source in spec.sources
        if source.volume is not None
    ]
    if picture := _picture(folders, document_id):
        return f"--image {shlex.quote(os.path.relpath(picture))}"
    if document_id is not None:
        return f"--document {shlex.quote(document_id)}"
    return "--image photo.jpg"


def _words(values: Iterable[Any]) -> str | None:
    """The first text of the values that can be typed."""
    for value in values:
        text = value[0] if isinstance(value, list) and value else value
        if isinstance(text, str) and text.isprintable() and 0 < len(text) <= _LONGEST_WORDS:
            return shlex.quote(text)
    return None


def _picture(folders: Iterable[Path], document_id: str | None) -> Path | None:
    """The file of the document, or else the first of a folder; None if there is no picture."""
    for folder in folders:
        if document_id is not None and (folder / document_id).is_file():
            return folder / document_id
    for folder in folders:
        for place, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                if (
                    name[0] != "."
                    and name.isprintable()
                    and Path(name).suffix.lower() in IMAGE_SUFFIXES
                ):
                    return Path(place) / name
    return None
