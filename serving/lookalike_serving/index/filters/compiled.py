"""A filter tree as one condition of an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.index.filters.conditions import C, Conditions, never
from lookalike_serving.index.filters.ranges import Bound, one_range
from lookalike_serving.index.filters.tree import And, Filter, HasId, Not, Or, Predicate


def compiled(filter: Filter, fields: Iterable[FieldSpec], on: Conditions[C]) -> C:
    """What `filter` means for documents with these fields."""
    return _compiled(filter, {field.name: field.type for field in fields}, on)


def _compiled(filter: Filter, types: Mapping[str, FieldType], on: Conditions[C]) -> C:
    match filter:
        case Predicate():
            return filter.compiled(on, types.get(filter.key))
        case And():
            return on.all_of([*_joined(filter, types, on)])
        case Or(of):
            return on.any_of([_compiled(each, types, on) for each in of]) if of else never(on)
        case Not(of):
            return on.none_of([_compiled(each, types, on) for each in of])
        case HasId(ids):
            return on.has_id(ids)


def _joined(filter: And, types: Mapping[str, FieldType], on: Conditions[C]) -> Iterator[C]:
    """The parts of an And, those of Ands within it, too: all bounds of one key are one range."""
    ranges: dict[str, list[Bound]] = {}
    pending = list(filter.of)
    while pending:
        match pending.pop(0):
            case And(of):
                pending[:0] = of
            case Bound() as bound:
                ranges.setdefault(bound.key, []).append(bound)
            case part:
                yield _compiled(part, types, on)
    for key, bounds in ranges.items():
        yield one_range(on, bounds, types.get(key))
