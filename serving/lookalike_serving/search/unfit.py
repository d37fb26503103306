"""Tells of documents that a field's index leaves out, where a filter on the field found nothing.

A field that was declared with another type keeps its documents' old values: as an Integer field,
`9.5` is in no index, and no filter finds it.
"""

from __future__ import annotations

from collections.abc import Iterable

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.index.filters import And, Condition, Filter, Not, Operator, Or
from lookalike_serving.index.protocol import Index, IndexRefused

_FITS: dict[FieldType, tuple[Operator, object]] = {
    FieldType.KEYWORD: (Operator.STARTS_WITH, ""),
    FieldType.INTEGER: (Operator.GTE, -(2.0**63)),
    FieldType.FLOAT: (Operator.GTE, -1.7e308),
    FieldType.BOOL: (Operator.IN, [True, False]),
    FieldType.DATETIME: (Operator.GTE, "0001-01-02"),
}
"""What every value of a type meets."""


async def unfit_warnings(
    index: Index, name: str, tree: Filter, fields: Iterable[FieldSpec]
) -> list[str]:
    """One for each key of the filter whose documents hold values of another type."""
    keys = set(_keys(tree))
    warnings = []
    for field in fields:
        if field.name not in keys or field.type not in _FITS:
            continue
        operator, value = _FITS[field.type]
        key = field.name
        has_value = Condition(key, Operator.EXISTS, True)
        is_fine = (Condition(key, operator, value), Condition(key, Operator.IS_NULL, True))
        try:
            count = await index.count(And((has_value, Not(is_fine))))
        except IndexRefused:
            continue  # an old server without starts_with: the search itself was answered
        if count:
            warnings.append(
                f"filters: {count} documents of {name} hold {key!r} with values that are no "
                f"{field.type.value}, the field's type, and no filter on it finds them: declare "
                "the type that they have, or write them anew"
            )
    return warnings


def _keys(tree: Filter) -> Iterable[str]:
    match tree:
        case Condition(key):
            yield key
        case And(of) | Or(of) | Not(of):
            for each in of:
                yield from _keys(each)
