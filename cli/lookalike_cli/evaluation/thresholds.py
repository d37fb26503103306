"""The score below which results are mostly wrong, found from judged results. Pure.

Scores of text queries and of image queries have different scales in models of the CLIP family, so a
threshold is found for each kind of query.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_cli.evaluation.metrics import RESAMPLES

_SEED = 1


@dataclass(frozen=True, slots=True)
class Scored:
    """The results of one query."""

    kind: str
    """text or image; image also for documents, whose scores have the same scale."""
    results: tuple[tuple[float, bool], ...]
    """The score of each result and whether it is relevant, best first."""
    total: int
    """How many relevant documents there are."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The lowest `min_score` with which the wanted share of the results is relevant."""

    min_score: float
    precision: float
    """The share of the results of all queries with at least this score that is relevant."""
    low: float
    high: float
    """The 95 % confidence interval of the precision, bootstrapped over the queries."""
    recall: float
    """The share of all relevant documents that are found with at least this score."""
    empty: float
    """The share of the queries that get no result with it."""


def threshold(queries: Sequence[Scored], wanted: float) -> Threshold | None:
    """None if no score gives the wanted precision, 0 to 1."""
    judged = sorted((each for query in queries for each in query.results), reverse=True)
    best: float | None = None
    relevant = 0
    for count, (score, right) in enumerate(judged, 1):
        relevant += right
        last_of_its_score = count == len(judged) or judged[count][0] < score
        if last_of_its_score and relevant >= wanted * count:
            best = score
    return None if best is None else _at(queries, best)


def _at(queries: Sequence[Scored], score: float) -> Threshold:
    counts = []
    for query in queries:
        returned = [right for value, right in query.results if value >= score]
        counts.append((len(returned), sum(returned)))
    chosen = random.Random(_SEED)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = chosen.choices(counts, k=len(counts))
        if returned_in_all := sum(count for count, _ in drawn):
            resampled.append(sum(right for _, right in drawn) / returned_in_all)
    resampled.sort()
    relevant = sum(right for _, right in counts)
    return Threshold(
        min_score=score,
        precision=relevant / sum(count for count, _ in counts),
        low=resampled[int(0.025 * len(resampled))],
        high=resampled[max(0, int(0.975 * len(resampled)) - 1)],
        recall=relevant / sum(query.total for query in queries),
        empty=sum(1 for count, _ in counts if not count) / len(counts),
    )
