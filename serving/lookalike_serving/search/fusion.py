"""Hits of several collections -> one ranked list.

A document that lies in two collections – the same id and the same image, as when two models index
one catalogue – is one document; equal ids with different images are different documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lookalike_crds.retriever import Fusion
from lookalike_serving.index.protocol import Hit
from lookalike_serving.search.candidates import Candidate

RRF_K = 60
"""Cormack, Clarke & Büttcher 2009."""


def fuse(
    hits: Mapping[str, Sequence[Hit]], weights: Mapping[str, float], fusion: Fusion
) -> list[Candidate]:
    """Candidates, best first. `hits` holds each collection's, best first.

    Weighted: weight x score, the best of a document's collections. RRF: the sum over its
    collections of weight / (60 + rank). A single collection keeps its scores, whatever its weight.
    """
    if len(hits) == 1:
        ((collection, only),) = hits.items()
        return [Candidate(collection, hit, hit.score) for hit in only]
    best: dict[tuple[str, str], Candidate] = {}
    for collection, ranked in hits.items():
        weight = weights[collection]
        for rank, hit in enumerate(ranked, 1):
            score = weight * hit.score if fusion is Fusion.WEIGHTED else weight / (RRF_K + rank)
            candidate = Candidate(collection, hit, score)
            identity = (candidate.document_id, candidate.image or f"{collection}/{hit.id}")
            other = best.get(identity)
            if other is None:
                best[identity] = candidate
            elif fusion is Fusion.RRF:
                best[identity] = replace(other, score=other.score + score)
            elif score > other.score:
                best[identity] = candidate
    return sorted(best.values(), key=_best_first)


def _best_first(candidate: Candidate) -> tuple[float, str, str]:
    """Equal scores keep one order between runs."""
    return (-candidate.score, candidate.collection, candidate.hit.id)
