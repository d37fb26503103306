"""Cheap mistakes, found before the expensive start: everything that only the files' folder tells.

`load_files` checks what is written; this looks at what it is written about: weights, folders,
manifests and their columns. Starting Ray and loading a model takes far longer than all of it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike_cli.rendering import absolute, with_resolved_weights
from lookalike_crds.load import Problem

if TYPE_CHECKING:
    from lookalike_crds.load import Loaded
    from lookalike_crds.resources import ImageCollection
    from lookalike_crds.sources import MetadataMapping, SourceSpec

_WITHOUT = "; --no-ingest serves what is indexed without it"
_ROWS = 100
"""Of a table, to see which columns it has."""


def checked(loaded: Loaded, *, sources: bool = True) -> Loaded:
    """With the problems that the resources have on this machine; those of sources where wanted."""
    found = []
    for resource in loaded.collections:
        origin = loaded.origins[loaded.resources.index(resource)]
        name = f"{resource.kind}/{resource.metadata.name}"
        for path, value, message, warning in _problems(resource, origin.folder, sources):
            found.append(
                Problem(origin.source, origin.document, name, path, value, message, warning)
            )
    return replace(loaded, problems=(*loaded.problems, *found))


_Found = tuple[str, str | None, str, bool]
"""Path, value, message, and whether it is only a warning."""


def _problems(resource: ImageCollection, folder: Path, sources: bool) -> Iterator[_Found]:
    from lookalike_serving.embed.protocol import ModelError
    from lookalike_serving.embed.registry import check_model

    copies = resource.spec.made_by.copies
    for path, model in (("spec.model", resource.spec.model), ("spec.duplicates.model", copies)):
        try:
            if model is not None:
                check_model(with_resolved_weights(model, folder))
        except ModelError as error:
            yield path, None, str(error), False
    if not sources:
        return
    for number, source in enumerate(resource.spec.sources):
        for path, value, message, warning in _of_source(source, folder):
            yield f"spec.sources[{number}].{path}", value, message, warning


def _of_source(source: SourceSpec, folder: Path) -> Iterator[_Found]:
    if source.volume is not None:
        root = absolute(source.volume.path, folder)
        told = _no_folder(root)
        if told is not None:
            yield "volume.path", source.volume.path, told, False
            return
        if not any(root.iterdir()):
            yield "volume.path", source.volume.path, f"{root} is empty: no image is ingested", True
        if source.metadata.file is not None:
            keys = {"metadata.keyColumn": source.metadata.key_column}
            yield from _of_table(
                "metadata.file", root / source.metadata.file, None, keys, source.metadata
            )
    elif source.urls is not None and "://" not in source.urls.manifest:
        manifest = absolute(source.urls.manifest, folder)
        keys = {"urls.urlColumn": source.urls.url_column}
        yield from _of_table("urls.manifest", manifest, source.urls.format, keys, source.metadata)


def _no_folder(path: Path) -> str | None:
    if not path.exists():
        nearest = next(each for each in path.parents if each.exists())
        near = difflib.get_close_matches(path.name, _names(path.parent), 1)
        remedy = (
            f": did you mean {near[0]}?" if near else f" ({nearest} exists): correct it, or make it"
        )
        return f"there is no folder {path}{remedy}{_WITHOUT}"
    if not path.is_dir():
        return f"{path} is a file: name its folder, or use urls.manifest for a list of images"
    if not os.access(path, os.R_OK | os.X_OK):
        return f"{path} cannot be read: give this user the right to read it"
    return None


def _names(folder: Path) -> list[str]:
    try:
        return [each.name for each in islice(folder.iterdir(), 10_000)]
    except OSError:
        return []


def _of_table(
    place: str, path: Path, said: str | None, keys: dict[str, str], mapping: MetadataMapping
) -> Iterator[_Found]:
    """Whether the table can be read, and has the columns that are asked for.

    `said`: the format of a manifest, as the spec says it; None: a metadata file.
    """
    from lookalike_serving.ingest.sources.guess import flat
    from lookalike_serving.ingest.sources.protocol import SourceError
    from lookalike_serving.ingest.sources.tables import (
        Unreadable,
        format_of,
        metadata_format,
        rows,
    )

    if not path.exists():
        near = difflib.get_close_matches(path.name, _names(path.parent), 1)
        remedy = f"did you mean {near[0]}?" if near else "correct it"
        yield place, None, f"there is no file {path}: {remedy}{_WITHOUT}", False
        return
    try:
        format_ = metadata_format(path.name) if said is None else format_of(path.name, said)
        table = rows(path, format_, text_column=keys[next(iter(keys))])
        read = list(islice(table, _ROWS))
    except SourceError as error:
        yield place, None, str(error), False
        return
    found = [row for row in read if not isinstance(row, Unreadable)]
    if not found:
        if read:
            first = next(row for row in read if isinstance(row, Unreadable))
            yield place, None, f"{path} {first.place} {first.cause}", False
        return
    columns = list(dict.fromkeys(name for row in found for name in (*row, *dict(flat(row)))))
    if mapping.document_id is not None:
        keys["metadata.documentId"] = mapping.document_id
    for where, column in keys.items():
        if column not in columns:
            yield where, repr(column), _no_column(path, columns, column), False
    # A key that the first lines of a JSON Lines file do not have may come later.
    asked = {f"columns.{key}": column for key, column in mapping.columns.items()}
    for key, place_of in mapping.geo.items():
        asked |= {f"geo.{key}.lat": place_of.lat, f"geo.{key}.lon": place_of.lon}
    for where, column in asked.items():
        if column not in columns:
            told = _no_column(path, columns, column)
            yield f"metadata.{where}", repr(column), told, format_ == "JsonLines"


def _no_column(path: Path, columns: Iterable[str], column: str) -> str:
    has = list(columns)
    near = difflib.get_close_matches(column, has, 1)
    remedy = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, has[:20]))}"
    return f"{path.name} has no such column: {remedy}"
