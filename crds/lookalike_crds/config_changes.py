"""What a changed ServingConfig asks of a server that runs: which field needs what.

The light part is taken at once (`light_of`). Of collections this says what has to be done about
each, and of sources whether they are read again; the server does that, and `lookalike apply` tells
it before. What no running server can take is a restart's.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from lookalike_crds.config import CollectionConfig, IndexConfig, IngestionConfig, ServingConfig
from lookalike_crds.image_collection import DuplicatesSpec, FieldSpec, OnIngest
from lookalike_crds.sources import MetadataMapping, SourceSpec


class Work(Enum):
    """What a change of a collection asks for, from the least to the most."""

    NOTHING = "continues as it is"
    DUPLICATES = "other verdicts on copies, over the same index"
    MODEL = "the same model in other settings, over the same index"
    FIELDS = "payload indexes made over what is stored"
    REOPENING = "the same index opened with other settings"
    ANOTHER_INDEX = "an index of its own, filled from the sources"


def work_of(before: CollectionConfig, after: CollectionConfig) -> Work:
    """The most that the change of one collection asks for."""
    if place_of(before.index) != place_of(after.index):
        return Work.ANOTHER_INDEX
    if (before.vector, before.index) != (after.vector, after.index):
        return Work.REOPENING
    if before.fields != after.fields:
        return Work.FIELDS
    if (before.model, before.copy_model) != (after.model, after.copy_model):
        return Work.MODEL
    return Work.NOTHING if before.duplicates == after.duplicates else Work.DUPLICATES


def place_of(index: IndexConfig) -> tuple[Any, ...]:
    """What tells an index from every other; addresses of one server may come in any order."""
    return index.engine, index.name, index.path, frozenset(index.addresses)


def what_is_read(
    sources: Iterable[SourceSpec],
    fields: Iterable[FieldSpec],
    duplicates: DuplicatesSpec | None = None,
) -> list[dict[str, Any]]:
    """Equal where the sources need not be read again: when they are read is another matter.

    Fields say how the metadata that a source brings is read: a text as a number or a date, and
    which values do not fit. `duplicates`: images that lack the hashes or features that it asks for
    are read to get them.
    """
    types = {field.name: field.type.value for field in fields}
    return [
        source.model_dump(mode="json", exclude={"schedule"}, exclude_defaults=True)
        | ({"types": types} if types and _brings_metadata(source) else {})
        | ({} if duplicates is None else _asked_of_copies(duplicates))
        for source in sorted(sources, key=lambda source: source.name)
    ]


def _asked_of_copies(spec: DuplicatesSpec) -> dict[str, Any]:
    return (
        {"hashed": True}
        | ({"features": True} if spec.features else {})
        | ({} if spec.on_ingest is OnIngest.ALLOW else {"onIngest": spec.on_ingest.value})
    )


def _brings_metadata(source: SourceSpec) -> bool:
    kind = source.kind
    return kind.brings_metadata or kind.holds_archives or source.metadata != MetadataMapping()


def is_read_again(before: IngestionConfig | None, after: IngestionConfig) -> bool:
    """Whether a collection's sources are read, given those that were read last."""
    return before is None or (
        (place_of(before.collection.index), _what_is_read(before))
        != (place_of(after.collection.index), _what_is_read(after))
    )


def _what_is_read(config: IngestionConfig) -> list[dict[str, Any]]:
    collection = config.collection
    return what_is_read(config.sources, collection.fields, collection.duplicates)


def needs_restart(before: ServingConfig, after: ServingConfig) -> str | None:
    """Why no running server can go from one to the other, with the remedy; None if one can."""
    changed = [name for name, one in _fixed(before).items() if one != _fixed(after)[name]]
    if not changed:
        return None
    return f"{', '.join(changed)} cannot change while the server runs: `lookalike down`, then `up`"


def _fixed(config: ServingConfig) -> dict[str, Any]:
    return {
        "version": config.version,
        "data_dir": config.data_dir,
        "run_dir": config.run_dir,
        "http.host": config.http.host,
        "http.port": config.http.port,
        "access.api_keys_file": config.access.api_keys_file,
        "access.internal_token_file": config.access.internal_token_file,
        "fetch": config.fetch,
        "batches_index": config.batches_index,
        "random_weights_for_benchmarks": config.random_weights_for_benchmarks,
    }
