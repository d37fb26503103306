"""Stages that reorder candidates after fusion, in the order they are listed.

The first functions tell the index query what all stages together will want; `rerank` applies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.search.candidates import Candidate, traced
from lookalike_serving.search.stages import Stage

Stages = Sequence[Stage[Any]]


def needs_vectors(stages: Stages) -> bool:
    return any(stage.needs_vectors for stage in stages)


def fields_of(stages: Stages) -> list[str]:
    """The metadata keys the stages read."""
    return [field for stage in stages for field in stage.fields()]


def fetch_limit(stages: Stages, top_k: int) -> int:
    """How many candidates of each collection the stages choose from."""
    return max((stage.candidates(top_k) for stage in stages), default=top_k)


def extra_filters(stages: Stages) -> list[Filter]:
    """The documents the stages favour: the index is asked for the nearest of each, too."""
    return [favoured for stage in stages for favoured in stage.favoured()]


def rerank(
    candidates: list[Candidate], stages: Stages, top_k: int, *, trace: bool
) -> list[Candidate]:
    """The candidates after all stages. CPU-bound: for thousands of candidates, use a thread."""
    for stage in stages:
        candidates = stage.apply(candidates, top_k)
        if trace:
            candidates = traced(candidates, stage.spec.type)
    return candidates
