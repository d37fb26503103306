"""Reports documents that the index of a field leaves out, if a filter on the field found nothing.

If the type of a field is changed, its documents keep their old values: for an Integer field, `9.5`
is in no index, and no filter finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.payload_indexes import former_types, retyped
from lookalike_serving.index.filters.equality import OneOf
from lookalike_serving.index.filters.places import InBox
from lookalike_serving.index.filters.presence import Exists, IsNull
from lookalike_serving.index.filters.ranges import Bound
from lookalike_serving.index.filters.texts import Contains, StartsWith
from lookalike_serving.index.filters.tree import And, Filter, Not, keys
from lookalike_serving.index.protocol import Index, IndexInfo, IndexRefused

_FITS: dict[FieldType, Callable[[str], Filter]] = {
    FieldType.KEYWORD: lambda key: StartsWith(key, ""),
    FieldType.INTEGER: lambda key: Bound(key, "gte", -(2.0**63)),
    FieldType.FLOAT: lambda key: Bound(key, "gte", -1.7e308),
    FieldType.BOOL: lambda key: OneOf(key, (True, False)),
    FieldType.DATETIME: lambda key: Bound(key, "gte", datetime(1, 1, 2, tzinfo=UTC)),
    FieldType.GEO: lambda key: InBox(key, top=90, left=-180, bottom=-90, right=180),
    FieldType.TEXT: lambda key: Contains(key, ""),
}
"""What every value of a type meets."""


async def unfit_warnings(
    index: Index, name: str, tree: Filter, fields: Iterable[FieldSpec]
) -> list[str]:
    """One for each key of the filter whose documents hold values of another type."""
    named = keys(tree)
    warnings = []
    for field in fields:
        if field.name not in named:
            continue
        count = await _unfit(index, field)
        if count:
            warnings.append(
                f"filters: {count} documents of {name} hold {field.name!r} with values that are no "
                f"{field.type.value}, the field's type, and no filter on it finds them: declare "
                "the type that they have, or write them again"
            )
    return warnings


async def retyped_warnings(index: Index, info: IndexInfo, fields: Iterable[FieldSpec]) -> list[str]:
    """One for each field whose type was changed, as long as documents hold values of before."""
    changed = former_types(fields, info.former_types)
    return [
        retyped(field, former, count)
        for field, former in changed.items()
        if (count := await _unfit(index, field))
    ]


async def _unfit(index: Index, field: FieldSpec) -> int:
    """Documents that hold a value which the field's index leaves out."""
    if field.type not in _FITS:
        return 0
    is_fine = (_FITS[field.type](field.name), IsNull(field.name))
    try:
        return await index.count(And((Exists(field.name), Not(is_fine))))
    except IndexRefused:
        return 0  # an old server without starts_with
