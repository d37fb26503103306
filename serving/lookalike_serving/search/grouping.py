"""Keep the best document of each value of a metadata key.

The index knows nothing of groups, so one query may bring twenty documents of one maker. Rounds
follow that leave the values already seen out, until there are enough groups, no more documents,
or the bound on rounds is met.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lookalike_serving.index.filters.equality import Equals, OneOf
from lookalike_serving.index.filters.tree import Filter, HasId, Not
from lookalike_serving.search.candidates import Candidate

MAX_ROUNDS = 5
_LEAST = 50
_FACTOR = 2


def fetch_limit(group_by: str | None, limit: int) -> int:
    """How many candidates a round asks for."""
    return limit if group_by is None else max(_FACTOR * limit, _LEAST)


def best_of_each(candidates: Sequence[Candidate], key: str) -> list[Candidate]:
    """The first candidate of each value, in order. Without the key each stands for itself."""
    seen: set[str] = set()
    best: list[Candidate] = []
    for candidate in candidates:
        value = group_value(candidate, key)
        if value is not None:
            group = json.dumps(value, sort_keys=True)
            if group in seen:
                continue
            seen.add(group)
        best.append(candidate)
    return best


def unseen(candidates: Sequence[Candidate], key: str) -> Filter | None:
    """The documents of other groups than these; None if there are no candidates.

    Documents without the key are told apart by their ids.
    """
    texts: dict[str, None] = {}
    integers: dict[int, None] = {}
    others: dict[tuple[type, Any], None] = {}
    ids: list[str] = []
    for candidate in candidates:
        match group_value(candidate, key):
            case str() as text:
                texts[text] = None
            case bool() | float() as value:
                others[type(value), value] = None
            case int() as integer:
                integers[integer] = None
            case _:
                ids.append(candidate.hit.id)
    seen: list[Filter] = [OneOf(key, tuple(values)) for values in (texts, integers) if values]
    seen.extend(Equals(key, value) for _, value in others)
    if ids:
        seen.append(HasId(tuple(ids)))
    return Not(tuple(seen)) if seen else None


def group_value(candidate: Candidate, key: str) -> Any:
    """A document's group; of a list the first value."""
    value = candidate.value(key)
    return next(iter(value), None) if isinstance(value, list) else value
