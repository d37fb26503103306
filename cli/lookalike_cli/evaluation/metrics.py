"""The figures of a ranking, and their confidence intervals. Pure.

A document that is not judged counts as not relevant. With k results and R relevant documents:

    P@k     relevant documents among the first k, divided by k
    R@k     relevant documents among the first k, divided by R
    mAP     the mean of the precision at each relevant document of the ranking, divided by R (or by
            the depth of the ranking, if R is larger)
    nDCG@k  the gain of the first k, discounted by the logarithm of the rank, divided by the largest
            gain that is possible
    MRR     1 / rank of the first relevant document; 0 if there is none in the ranking
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESAMPLES = 1000
_SEED = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one query, 0 to 1."""

    precision: float
    recall: float
    average_precision: float
    ndcg: float
    reciprocal_rank: float


NAMES = {
    "precision": "P@{k}",
    "recall": "R@{k}",
    "average_precision": "mAP",
    "ndcg": "nDCG@{k}",
    "reciprocal_rank": "MRR",
}
"""What the mean of each figure is called."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over queries with the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float


def figures(
    ranking: Sequence[str], relevant: Mapping[str, float], total: int, *, k: int, depth: int
) -> Figures:
    """The figures of a ranking of at most `depth` documents.

    `relevant` has the grade of each relevant document that is known by its id, above 0. `total` is
    how many relevant documents there are; those that are not known by their ids have grade 1. A
    query without relevant documents has no figures: ValueError.
    """
    if total < 1:
        raise ValueError("a query without relevant documents cannot be judged")
    gains = [relevant.get(document, 0.0) for document in ranking]
    ranks = [rank for rank, gain in enumerate(gains, 1) if gain > 0]
    found = sum(1 for rank in ranks if rank <= k)
    precisions = sum(count / rank for count, rank in enumerate(ranks, 1))
    ideal = sorted([*relevant.values(), *[1.0] * (total - len(relevant))], reverse=True)
    return Figures(
        precision=found / k,
        recall=found / total,
        average_precision=precisions / min(total, depth),
        ndcg=_discounted(gains[:k]) / _discounted(ideal[:k]),
        reciprocal_rank=1 / ranks[0] if ranks else 0.0,
    )


def _discounted(gains: Sequence[float]) -> float:
    return sum((2**gain - 1) / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def means(rows: Sequence[Figures]) -> dict[str, Mean]:
    """The mean of each figure. The intervals are bootstrapped: the queries are drawn again, with
    replacement, and the middle 95 % of the means are taken. The same rows give the same bounds."""
    chosen = random.Random(_SEED)
    draws = [chosen.choices(range(len(rows)), k=len(rows)) for _ in range(RESAMPLES)]
    made = {}
    for name in NAMES:
        values = [float(getattr(row, name)) for row in rows]
        resampled = sorted(sum(values[i] for i in draw) / len(rows) for draw in draws)
        low, high = resampled[int(0.025 * RESAMPLES)], resampled[int(0.975 * RESAMPLES) - 1]
        made[name] = Mean(sum(values) / len(rows), low, high)
    return made
