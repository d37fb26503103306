"""Which sources of a collection may give two pictures the same document id.

A picture's id is its path where no column names it, so two folders that both hold `a.jpg` claim one
id. Only a run finds out whether they do, and reports the second one as a failure; that they may is
seen in the spec.
"""

from __future__ import annotations

from collections.abc import Iterator

from lookalike_crds.image_collection import ImageCollectionSpec
from lookalike_crds.sources import SourceSpec


def warnings(spec: ImageCollectionSpec) -> Iterator[tuple[str, str]]:
    """(path in the spec, what may happen and what to write), one for each such source."""
    first: dict[str, SourceSpec] = {}
    for i, source in enumerate(spec.sources):
        if not _named_by_path(source):
            continue
        earlier = first.setdefault(source.id_prefix, source)
        if earlier is not source:
            yield (
                f"spec.sources[{i}].idPrefix",
                f"files of the same path in sources {earlier.name} and {source.name} get the same "
                f"document id, and only that of {earlier.name} comes in. If there are such, write "
                f"idPrefix: {source.name}/ for source {source.name}: documents that it has brought "
                "already stay under their old ids then, until they are deleted",
            )


def _named_by_path(source: SourceSpec) -> bool:
    return source.metadata.document_id is None and source.kind.paths_are_ids
