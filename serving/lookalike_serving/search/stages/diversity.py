"""Diversity: maximal marginal relevance (Carbonell & Goldstein 1998)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lookalike_crds.stages import DiversityStage
from lookalike_serving.search.candidates import Candidate
from lookalike_serving.search.stages.stage import Stage

_FACTOR = 4
_LEAST = 100
_MOST = 2000


class Diversity(Stage[DiversityStage], of=DiversityStage):
    needs_vectors: ClassVar[bool] = True

    def candidates(self, top_k: int) -> int:
        return max(top_k, min(max(_FACTOR * top_k, _LEAST), _MOST))

    def apply(self, candidates: Sequence[Candidate], top_k: int) -> list[Candidate]:
        """The first `top_k` by marginal relevance, then the rest.

        Picks in turn the candidate with the greatest
        `trade_off * relevance - (1 - trade_off) * likeness to the most similar one picked`.
        Relevance is the score scaled to 0..1 over the candidates, since scores of text queries or
        of fused ranks span far less than similarities between images do; likeness is the cosine.
        Scores stay what they were; only the order changes.
        """
        if len(candidates) < 3:
            return list(candidates)
        trade_off = self.spec.trade_off
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
