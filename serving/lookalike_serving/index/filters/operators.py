"""The operators of filters: a new one is a predicate and an entry here.

If the meaning of an operator needs a comparison that `conditions.py` lacks, add the comparison
there and to the two engines.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from lookalike_serving.index.filters import equality, places, presence, ranges, texts
from lookalike_serving.index.filters.tree import Filter, Not
from lookalike_serving.index.filters.values import (
    SCALAR,
    TEXT,
    Shape,
    WrongFilter,
    check_key,
    shown,
)


class Operator(NamedTuple):
    read: Callable[[str, Any], Filter]
    """(key, value of the request) -> what it means. Raises WrongFilter."""
    shape: Shape
    """JSON schema of its values."""


def _against(read: Callable[[str, Any], Filter]) -> Callable[[str, Any], Filter]:
    return lambda key, value: Not((read(key, value),))


_EQUAL, _ONE_OF, _BOUND = equality.read_equal, equality.read_one_of, ranges.read_bound

OPERATORS: Mapping[str, Operator] = {
    "eq": Operator(partial(_EQUAL, "eq"), equality.SCALAR_OR_NULL),
    "ne": Operator(_against(partial(_EQUAL, "ne")), equality.SCALAR_OR_NULL),
    "gt": Operator(partial(_BOUND, "gt"), ranges.BOUND),
    "gte": Operator(partial(_BOUND, "gte"), ranges.BOUND),
    "lt": Operator(partial(_BOUND, "lt"), ranges.BOUND),
    "lte": Operator(partial(_BOUND, "lte"), ranges.BOUND),
    "in": Operator(partial(_ONE_OF, "in"), equality.SCALARS),
    "nin": Operator(_against(partial(_ONE_OF, "nin")), equality.SCALARS),
    "contains": Operator(texts.read_contains, SCALAR),
    "starts_with": Operator(texts.read_prefix, TEXT),
    "exists": Operator(presence.read_exists, presence.FLAG),
    "is_null": Operator(presence.read_is_null, presence.FLAG),
    "text": Operator(texts.read_words, texts.WORDS),
    "geo_radius": Operator(places.read_circle, places.CIRCLE),
    "geo_box": Operator(places.read_box, places.BOX),
}
FLAGS = frozenset(name for name, each in OPERATORS.items() if each.shape is presence.FLAG)
"""Operators whose value may be left out, and is then true."""

_SYMBOLS = {"=": "eq", "==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def condition(key: str, operator: str, value: Any = True) -> Filter:
    """What one condition of a request means. Raises WrongFilter."""
    check_key(key)
    return operator_named(operator).read(key, value)


def operator_named(name: Any) -> Operator:
    """An operator by its name, in any case. Raises WrongFilter."""
    text = name.lower() if isinstance(name, str) else ""
    if text in OPERATORS:
        return OPERATORS[text]
    close = _SYMBOLS.get(text) or next(iter(difflib.get_close_matches(text, OPERATORS, 1)), None)
    hint = f"did you mean {close!r}? " if close else ""
    raise WrongFilter(f"unknown operator {shown(name)}: {hint}Known are {', '.join(OPERATORS)}")
