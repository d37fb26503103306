"""Tells of documents that a field's index leaves out, where a filter on the field found nothing.

A field that was declared with another type keeps its documents' old values: as an Integer field,
`9.5` is in no index, and no filter finds it.
"""

from __future__ import annotations

from collections.abc import Iterable

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.payload_indexes import former_types, retyped
from lookalike_serving.index.filters import And, Condition, Filter, Not, Operator, Or
from lookalike_serving.index.protocol import Index, IndexInfo, IndexRefused

_FITS: dict[FieldType, tuple[Operator, object]] = {
    FieldType.KEYWORD: (Operator.STARTS_WITH, ""),
    FieldType.INTEGER: (Operator.GTE, -(2.0**63)),
    FieldType.FLOAT: (Operator.GTE, -1.7e308),
    FieldType.BOOL: (Operator.IN, [True, False]),
    FieldType.DATETIME: (Operator.GTE, "0001-01-02"),
    FieldType.GEO: (
        Operator.GEO_BOX,
        {"top_left": {"lat": 90, "lon": -180}, "bottom_right": {"lat": -90, "lon": 180}},
    ),
    FieldType.TEXT: (Operator.CONTAINS, ""),
}
"""What every value of a type meets."""


async def unfit_warnings(
    index: Index, name: str, tree: Filter, fields: Iterable[FieldSpec]
) -> list[str]:
    """One for each key of the filter whose documents hold values of another type."""
    keys = set(_keys(tree))
    warnings = []
    for field in fields:
        if field.name not in keys:
            continue
        count = await _unfit(index, field)
        if count:
            warnings.append(
                f"filters: {count} documents of {name} hold {field.name!r} with values that are no "
                f"{field.type.value}, the field's type, and no filter on it finds them: declare "
                "the type that they have, or write them anew"
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
    operator, value = _FITS[field.type]
    has_value = Condition(field.name, Operator.EXISTS, True)
    is_fine = (
        Condition(field.name, operator, value),
        Condition(field.name, Operator.IS_NULL, True),
    )
    try:
        return await index.count(And((has_value, Not(is_fine))))
    except IndexRefused:
        return 0  # an old server without starts_with


def _keys(tree: Filter) -> Iterable[str]:
    match tree:
        case Condition(key):
            yield key
        case And(of) | Or(of) | Not(of):
            for each in of:
                yield from _keys(each)
