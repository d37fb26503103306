"""What is counted in an index on a Qdrant server: values of former types, unsourced documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.payload_indexes import (
    FORMER_TYPES,
    RESERVED,
    TYPES,
    former_types,
    json_path,
    remembered,
    retyped,
)

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

_FIRST_DAY = datetime(1, 1, 2, tzinfo=UTC)


async def retyped_fields(
    client: AsyncQdrantClient,
    index: str,
    fields: Sequence[FieldSpec],
    indexed: Mapping[str, str],
    made_for: Mapping[str, Any],
) -> tuple[str, ...]:
    """Reports of fields whose type was changed while documents have values of the former type."""
    known = {type.value.lower(): type.value for type in FieldType}
    types = {name: known[type] for name, type in indexed.items() if type in known}
    memory = remembered(
        fields, {**types, **made_for.get(TYPES, {})}, made_for.get(FORMER_TYPES, {})
    )
    changed = former_types(fields, memory[FORMER_TYPES])
    return tuple(
        [
            retyped(field, former, count)
            for field, former in changed.items()
            if (count := await _unfit(client, index, field))
        ]
    )


async def _unfit(client: AsyncQdrantClient, index: str, field: FieldSpec) -> int:
    """The number of documents with a value that the field's payload index leaves out."""
    from qdrant_client import models

    key = json_path(field.name)
    number = models.FieldCondition(key=key, range=models.Range(gte=-1.7e308))
    flags = [
        models.FieldCondition(key=key, match=models.MatchValue(value=value))
        for value in (True, False)
    ]
    latitudes = models.Range(gte=-90, lte=90)
    fits: dict[FieldType, list[Any]] = {
        FieldType.INTEGER: [number],
        FieldType.FLOAT: [number],
        FieldType.BOOL: flags,
        FieldType.DATETIME: [
            models.FieldCondition(key=key, range=models.DatetimeRange(gte=_FIRST_DAY))
        ],
        FieldType.GEO: [
            models.FieldCondition(key=f"{key}{each}.lat", range=latitudes) for each in ("", "[]")
        ],
    }
    if field.type in fits:
        absent = [
            models.IsEmptyCondition(is_empty=models.PayloadField(key=key)),
            models.IsNullCondition(is_null=models.PayloadField(key=key)),
        ]
        unfit = models.Filter(must_not=[*absent, *fits[field.type]])
    else:
        # No condition matches every text in all versions of Qdrant that are supported.
        unfit = models.Filter(should=[number, *flags])
    return (await client.count(index, count_filter=unfit, exact=True)).count


async def only_here(client: AsyncQdrantClient, index: str, sources: tuple[str, ...]) -> int:
    """The number of points that are from none of the sources (`Origin.source` in serving)."""
    from qdrant_client import models

    brought = models.FieldCondition(
        key=f"{RESERVED}.source", match=models.MatchAny(any=list(sources))
    )
    others = models.Filter(must_not=[brought]) if sources else None
    told = await client.count(index, count_filter=others, exact=True)
    return told.count
