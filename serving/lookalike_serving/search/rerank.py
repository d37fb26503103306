"""Stages that reorder candidates after fusion, in the order they are listed.

`needs_vectors`, `fields_of`, `extra_filters` and `fetch_limit` tell the index query what the stages
will want; `rerank` applies them. A Boost looks beyond the nearest documents: the index is asked
once more among those it favours, so that a boosted document is found however far down it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lookalike_crds.retriever import BoostStage, DiversityStage, Stage
from lookalike_serving.index.filters.equality import Equals
from lookalike_serving.index.filters.tree import Filter, Not
from lookalike_serving.search.candidates import Candidate, traced

_DIVERSITY_FACTOR = 4
_DIVERSITY_LEAST = 100
_DIVERSITY_MOST = 2000


def needs_vectors(stages: Sequence[Stage]) -> bool:
    return any(isinstance(stage, DiversityStage) for stage in stages)


def fields_of(stages: Sequence[Stage]) -> list[str]:
    """The metadata keys the stages read."""
    return [stage.field for stage in stages if isinstance(stage, BoostStage)]


def fetch_limit(stages: Sequence[Stage], top_k: int) -> int:
    """How many candidates of each collection the stages choose from."""
    if not needs_vectors(stages):
        return top_k
    return max(top_k, min(max(_DIVERSITY_FACTOR * top_k, _DIVERSITY_LEAST), _DIVERSITY_MOST))


def extra_filters(stages: Sequence[Stage]) -> list[Filter]:
    """For each Boost, the documents it favours: those that match, or those that do not."""
    favoured: list[Filter] = []
    for stage in stages:
        if isinstance(stage, BoostStage) and stage.weight != 0:
            match = Equals(stage.field, stage.value)
            favoured.append(match if stage.weight > 0 else Not((match,)))
    return favoured


def rerank(
    candidates: list[Candidate], stages: Sequence[Stage], top_k: int, *, trace: bool
) -> list[Candidate]:
    """The candidates after all stages. CPU-bound: for thousands of candidates, use a thread."""
    for stage in stages:
        if isinstance(stage, DiversityStage):
            candidates = diversify(candidates, stage.trade_off, top_k)
        else:
            candidates = boost(candidates, stage)
        if trace:
            candidates = traced(candidates, stage.type)
    return candidates


def boost(candidates: Sequence[Candidate], stage: BoostStage) -> list[Candidate]:
    """Adds the stage's weight to the score of matching documents and sorts again."""
    boosted = [
        replace(candidate, score=candidate.score + stage.weight)
        if _matches(candidate.value(stage.field), stage.value)
        else candidate
        for candidate in candidates
    ]
    return sorted(boosted, key=lambda candidate: -candidate.score)


def _matches(value: object, wanted: str | int | float | bool) -> bool:
    """Equality as the index has it: a list matches by any member, true is not 1."""
    if isinstance(value, list):
        return any(_matches(each, wanted) for each in value)
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def diversify(candidates: Sequence[Candidate], trade_off: float, top_k: int) -> list[Candidate]:
    """Maximal marginal relevance (Carbonell & Goldstein 1998): the first `top_k`, then the rest.

    Picks in turn the candidate with the greatest
    `trade_off * relevance - (1 - trade_off) * likeness to the most similar one picked`.
    Relevance is the score scaled to 0..1 over the candidates, since scores of text queries or of
    fused ranks span far less than similarities between images do; likeness is the cosine. Scores
    stay what they were; only the order changes.
    """
    if len(candidates) < 3:
        return list(candidates)
    scores = np.array([candidate.score for candidate in candidates], dtype=np.float32)
    span = float(scores.max() - scores.min())
    relevance = (scores - scores.min()) / span if span > 0 else np.ones_like(scores)
    spaces = _by_space(candidates)
    likeness = np.zeros(len(candidates), dtype=np.float32)
    open_ = np.ones(len(candidates), dtype=bool)
    picked: list[int] = []
    for _ in range(min(top_k, len(candidates))):
        gain = trade_off * relevance - (1.0 - trade_off) * likeness
        gain[~open_] = -np.inf
        chosen = int(gain.argmax())
        picked.append(chosen)
        open_[chosen] = False
        for members, vectors in spaces:
            row = np.searchsorted(members, chosen)
            if row < len(members) and members[row] == chosen:
                closer = vectors @ vectors[row]
                likeness[members] = np.maximum(likeness[members], closer)
    rest = [i for i in range(len(candidates)) if open_[i]]
    return [candidates[i] for i in [*picked, *rest]]


def _by_space(
    candidates: Sequence[Candidate],
) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Candidates whose vectors can be compared: (positions, (n, d) unit vectors) by collection."""
    spaces: dict[str, list[int]] = {}
    for position, candidate in enumerate(candidates):
        if candidate.hit.vector is not None:
            spaces.setdefault(candidate.collection, []).append(position)
    grouped: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
    for members in spaces.values():
        vectors = np.stack([_vector(candidates[i]) for i in members])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        grouped.append((np.array(members), vectors / np.maximum(lengths, 1e-12)))
    return grouped


def _vector(candidate: Candidate) -> NDArray[np.float32]:
    assert candidate.hit.vector is not None
    return candidate.hit.vector
