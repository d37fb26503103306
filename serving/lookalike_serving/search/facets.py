"""How many documents match filters, and how many of them hold each value of a field.

    plan: asked fields -> per field its type, and the collections that can count it
    -> a total, and each facet, from each collection's index -> added up by value

A facet leaves out its field's own choice, as shops do it: of the filters' outermost AND – nested
ANDs belong to it – each part that names no field but its own, whatever its operators. What stands
in an OR or a NOT beside other fields stays. So `{"color": "red", "size": "L"}` counts the colors
of all that is L, and the sizes of all that is red. The total leaves nothing out.

Scores play no part: counted are all documents that the filters leave, however unlike the query.
"""

from __future__ import annotations

import asyncio
import difflib
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from lookalike_crds.image_collection import FieldType
from lookalike_serving.index.facets import COUNTED, MAX_DISTINCT, ORDERED
from lookalike_serving.index.filters.presence import Exists
from lookalike_serving.index.filters.ranges import End, read_end, within
from lookalike_serving.index.filters.tree import And, Filter, Not, keys
from lookalike_serving.index.filters.values import WrongFilter
from lookalike_serving.index.protocol import Choice, Extent, Index, Value, ValueCounts
from lookalike_serving.problems import Wrong, invalid
from lookalike_serving.search.buckets import Dates, Numbers, TooMany, of_dates, of_numbers
from lookalike_serving.search.facet_request import (
    DEFAULT_BUCKETS,
    DEFAULT_LIMIT,
    MAX_BUCKETS,
    DateInterval,
    FacetField,
    FacetType,
)
from lookalike_serving.service import CollectionState
from lookalike_serving.together import together

T = TypeVar("T")

_AT_ONCE = 16
"""Questions of one request that indexes are asked at the same time."""

_NUMBERS = frozenset({FieldType.INTEGER, FieldType.FLOAT})
_FITS = {
    FacetType.TERMS: frozenset(COUNTED),
    FacetType.HISTOGRAM: _NUMBERS,
    FacetType.DATE_HISTOGRAM: frozenset({FieldType.DATETIME}),
    FacetType.RANGE: ORDERED,
}
_USUAL = {FieldType.FLOAT: FacetType.HISTOGRAM, FieldType.DATETIME: FacetType.DATE_HISTOGRAM}
_OPTIONS = {
    "limit": {FacetType.TERMS},
    "contains": {FacetType.TERMS},
    "include": {FacetType.TERMS},
    "ranges": {FacetType.RANGE},
    "buckets": {FacetType.HISTOGRAM, FacetType.DATE_HISTOGRAM},
    "interval": {FacetType.HISTOGRAM, FacetType.DATE_HISTOGRAM},
}


@dataclass(frozen=True, slots=True)
class FacetPlan:
    """One facet, checked against the collections' fields."""

    asked: FacetField
    type: FacetType
    states: tuple[CollectionState, ...]
    """The collections whose field of this name can be counted so."""
    whole: bool
    """All of them hold whole numbers."""
    warnings: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.asked.field


@dataclass(frozen=True, slots=True)
class Counted:
    total: int
    facets: list[dict[str, Any]]
    """Shape: facet_request.Facet."""
    warnings: list[str]


# Planning


def plan_facets(
    states: Sequence[CollectionState], asked: Sequence[FacetField], path: str = "fields"
) -> tuple[FacetPlan, ...]:
    """Raises Problem 422 that lists every field that cannot be counted as asked."""
    errors: list[Wrong] = []
    plans = [
        _planned(states, facet, f"{path}[{place}]", errors) for place, facet in enumerate(asked)
    ]
    if errors:
        raise invalid(errors)
    return tuple(plan for plan in plans if plan is not None)


def _planned(
    states: Sequence[CollectionState], asked: FacetField, path: str, errors: list[Wrong]
) -> FacetPlan | None:
    known = {
        state.name: field.type
        for state in states
        for field in state.config.fields
        if field.name == asked.field
    }
    if not known:
        errors.append(Wrong(f"{path}.field", _undeclared(states, asked.field)))
        return None
    type = asked.type or _usual(known)
    fits = _FITS[type]
    if type is FacetType.RANGE:
        fits = _ranged(asked, path, errors)
    wrong_options = [
        option
        for option, of in _OPTIONS.items()
        if getattr(asked, option) is not None and type not in of
    ]
    for option in wrong_options:
        named = " or ".join(_OPTIONS[option])
        errors.append(
            Wrong(f"{path}.{option}", f"belongs to type {named}, and this facet has type {type}")
        )
    if type is FacetType.HISTOGRAM and isinstance(asked.interval, DateInterval):
        errors.append(
            Wrong(
                f"{path}.interval",
                f"{asked.interval.value!r} is not a number, which the "
                "width of a histogram has to be",
            )
        )
    if type is FacetType.DATE_HISTOGRAM and isinstance(asked.interval, int | float):
        names = ", ".join(DateInterval)
        errors.append(Wrong(f"{path}.interval", f"{asked.interval} is none of {names}"))
    able = {name: each for name, each in known.items() if each in fits}
    if not able:
        errors.append(Wrong(f"{path}.type", _unfit(asked.field, type, known)))
        return None
    return FacetPlan(
        asked,
        type,
        tuple(state for state in states if state.name in able),
        whole=set(able.values()) == {FieldType.INTEGER},
        warnings=tuple(_left_out(states, asked.field, type, known, able)),
    )


def _usual(known: dict[str, FieldType]) -> FacetType:
    return _USUAL.get(next(iter(known.values())), FacetType.TERMS)


def _ranged(asked: FacetField, path: str, errors: list[Wrong]) -> frozenset[FieldType]:
    """The field types that the ranges' bounds can be compared with."""
    if asked.ranges is None:
        errors.append(
            Wrong(f"{path}.ranges", 'is missing: write [{"to": 10}, {"from": 10, "to": 20}]')
        )
        return ORDERED
    times: set[bool] = set()
    for place, each in enumerate(asked.ranges):
        where = f"{path}.ranges[{place}]"
        written = {"from": each.from_, "to": each.to}
        ends: list[Any] = []
        for name, end in written.items():
            if end is None:
                continue
            times.add(isinstance(end, str))
            try:
                ends.append(read_end(name, end))
            except WrongFilter as wrong:
                errors.append(Wrong(where, str(wrong)))
        if each.from_ is None and each.to is None:
            errors.append(Wrong(where, "needs from, to or both"))
        one_kind = len({isinstance(end, datetime) for end in ends}) == 1
        if len(ends) == 2 and one_kind and not ends[0] < ends[1]:
            errors.append(Wrong(where, f"from {each.from_} is not below to {each.to}"))
    if len(times) > 1:
        errors.append(Wrong(f"{path}.ranges", "mixes numbers and times: use only one kind"))
    return frozenset({FieldType.DATETIME}) if times == {True} else _NUMBERS


def _undeclared(states: Sequence[CollectionState], key: str) -> str:
    declared = sorted({field.name for state in states for field in state.config.fields})
    names = ", ".join(state.name for state in states)
    close = difflib.get_close_matches(key, declared, 1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return (
        f"{names} declares no field {key[:64]!r}, and only declared fields have an index that "
        f"counts. {hint}List it in spec.fields with its type. Declared: "
        f"{', '.join(declared)[:300] or 'none'}"
    )


def _unfit(key: str, type: FacetType, known: dict[str, FieldType]) -> str:
    types = sorted(set(known.values()))
    possible = sorted(
        {each.value for each, fits in _FITS.items() for field_type in types if field_type in fits}
    )
    told = " and ".join(types)
    if not possible:
        return f"{key!r} is a {told} field, which cannot be counted by value: declare a Keyword"
    return f"{key!r} is a {told} field, which has no {type}: ask for {' or '.join(possible)}"


def _left_out(
    states: Sequence[CollectionState],
    key: str,
    type: FacetType,
    known: dict[str, FieldType],
    able: dict[str, FieldType],
) -> Iterator[str]:
    """Warnings of what a retriever's collections do not agree on."""
    undeclared = [state.name for state in states if state.name not in known]
    if undeclared:
        yield (
            f"facets: {', '.join(undeclared)} declares no field {key!r}: its documents are not "
            "counted there"
        )
    for name in [name for name in known if name not in able]:
        yield (
            f"facets: {key!r} is a {known[name].value} field in {name}, which has no {type}: its "
            "documents are not counted there"
        )
    if type is FacetType.TERMS and len(set(able.values())) > 1:
        types = ", ".join(f"{each.value} in {name}" for name, each in able.items())
        yield f"facets: {key!r} is {types}: '1' and 1 are counted as two values"


# The field's own choice


def without_own(filter: Filter | None, key: str) -> Filter | None:
    """The filter without the parts of its outermost And that name no key but `key`."""
    if filter is None:
        return None
    kept = tuple(part for part in _parts(filter) if keys(part) != {key})
    if not kept:
        return None
    return kept[0] if len(kept) == 1 else And(kept)


def _parts(filter: Filter) -> Iterator[Filter]:
    if isinstance(filter, And):
        for each in filter.of:
            yield from _parts(each)
    else:
        yield filter


# Counting


async def count_facets(
    states: Sequence[CollectionState],
    filter: Filter | None,
    plans: Sequence[FacetPlan],
    path: str = "fields",
) -> Counted:
    """Raises IndexFailure, and Problem 422 for an interval that makes too many buckets."""
    counting = _Counting(filter)
    total, *facets = await together(
        [
            counting.total(states),
            *(counting.facet(plan, f"{path}[{place}]") for place, plan in enumerate(plans)),
        ]
    )
    warnings = [warning for plan in plans for warning in plan.warnings]
    return Counted(cast(int, total), cast("list[dict[str, Any]]", facets), warnings)


class _Counting:
    """The questions of one request."""

    def __init__(self, filter: Filter | None) -> None:
        self._filter = filter
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def _of_each(
        self, states: Sequence[CollectionState], ask: Callable[[Index], Coroutine[Any, Any, T]]
    ) -> list[T]:
        async def in_turn(index: Index) -> T:
            async with self._turns:
                return await ask(index)

        return await together([in_turn(state.index) for state in states])

    async def _count(self, states: Sequence[CollectionState], filter: Filter | None) -> int:
        return sum(await self._of_each(states, lambda index: index.count(filter)))

    async def total(self, states: Sequence[CollectionState]) -> Any:
        return await self._count(states, self._filter)

    async def facet(self, plan: FacetPlan, path: str) -> Any:
        among = without_own(self._filter, plan.key)
        told: dict[str, Any] = {"field": plan.key, "type": plan.type.value}
        match plan.type:
            case FacetType.TERMS:
                told |= await self._terms(plan, among)
            case FacetType.RANGE:
                told |= await self._ranges(plan, among)
            case FacetType.HISTOGRAM | FacetType.DATE_HISTOGRAM:
                told |= await self._histogram(plan, among, path)
        if plan.asked.missing:
            empty = Not((Exists(plan.key),))
            told["missing"] = await self._count(plan.states, _both(among, empty))
        return told

    async def _terms(self, plan: FacetPlan, among: Filter | None) -> dict[str, Any]:
        limit = plan.asked.limit or DEFAULT_LIMIT
        also = tuple(plan.asked.include or ())
        alone = len(plan.states) == 1
        choice = Choice(limit if alone else MAX_DISTINCT, plan.asked.contains, also)
        each = await self._of_each(plan.states, lambda index: index.facet(plan.key, choice, among))
        told = each[0] if alone else _added_up(each, limit, also)
        return {
            "exact": told.exact,
            "values": [{"value": value, "count": count} for value, count in told.counts],
            "distinct": told.distinct,
        }

    async def _ranges(self, plan: FacetPlan, among: Filter | None) -> dict[str, Any]:
        asked = plan.asked.ranges or ()
        counts = await together(
            [
                self._count(
                    plan.states,
                    within(plan.key, _end("from", each.from_), _end("to", each.to), among),
                )
                for each in asked
            ]
        )
        return {
            "exact": True,
            "buckets": [
                {"from": each.from_, "to": each.to, "count": count}
                for each, count in zip(asked, counts, strict=True)
            ],
        }

    async def _histogram(self, plan: FacetPlan, among: Filter | None, path: str) -> dict[str, Any]:
        extents = await self._of_each(plan.states, lambda index: index.extent(plan.key, among))
        extent = _widest(extents)
        if extent is None:
            return {"exact": True, "buckets": [], "min": None, "max": None}
        made = _buckets(plan, extent, path)
        each = await self._of_each(
            plan.states, lambda index: index.spread(plan.key, made.bounds, among)
        )
        counts = [sum(parts) for parts in zip(*(told.counts for told in each), strict=True)]
        bounds = itertools.pairwise(_written(bound) for bound in made.bounds)
        return {
            "exact": all(told.exact for told in each),
            "min": _written(extent[0]),
            "max": _written(extent[1]),
            "interval": made.width,
            "buckets": [
                {"from": low, "to": high, "count": count}
                for (low, high), count in zip(bounds, counts, strict=True)
            ],
        }


def _end(name: str, written: Any) -> End | None:
    return None if written is None else read_end(name, written)


def _both(among: Filter | None, *more: Filter) -> Filter:
    return And((*(() if among is None else (among,)), *more))


def _added_up(each: Sequence[ValueCounts], limit: int, also: Sequence[Value]) -> ValueCounts:
    """What several collections told, by value; `True` and `1` are two values."""
    sums: Counter[tuple[str, Value]] = Counter()
    for told in each:
        for value, count in told.counts:
            sums[type(value).__name__, value] += count
    pinned = {(type(value).__name__, value) for value in also}
    found = [(value, count) for value, count in sums.items() if count or value in pinned]
    found.sort(key=lambda each: (-each[1], each[0]))
    kept = [each for place, each in enumerate(found) if place < limit or each[0] in pinned]
    known = [told.distinct for told in each]
    distinct = None if None in known else sum(1 for _, count in found if count)
    counts = tuple((value, count) for (_, value), count in kept)
    return ValueCounts(counts, distinct, all(told.exact for told in each))


def _widest(extents: Sequence[Extent]) -> tuple[Any, Any] | None:
    known = [extent for extent in extents if extent is not None]
    if not known:
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _buckets(plan: FacetPlan, extent: tuple[Any, Any], path: str) -> Numbers | Dates:
    asked = plan.asked
    most = MAX_BUCKETS if asked.interval is not None else asked.buckets or DEFAULT_BUCKETS
    try:
        if plan.type is FacetType.DATE_HISTOGRAM:
            return of_dates(*extent, most, cast("DateInterval | None", asked.interval))
        return of_numbers(*extent, most, cast("float | None", asked.interval), whole=plan.whole)
    except TooMany:
        low, high = (_written(end) for end in extent)
        raise invalid(
            [
                Wrong(
                    f"{path}.interval",
                    f"{asked.interval} results in more than {MAX_BUCKETS} buckets from {low} to "
                    f"{high}: use a larger interval, or omit it",
                )
            ]
        ) from None


def _written(bound: Any) -> Any:
    if isinstance(bound, datetime):
        return bound.isoformat().replace("+00:00", "Z")
    return bound
