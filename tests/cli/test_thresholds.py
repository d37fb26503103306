"""The score from which on a wanted share of the results is relevant."""

from __future__ import annotations

import random

import pytest

from lookalike_cli.evaluation.thresholds import Scored, threshold


def query(*results: tuple[float, bool], total: int = 1) -> Scored:
    return Scored("text", results, total)


def test_the_lowest_score_that_is_good_enough_is_taken() -> None:
    queries = [
        query((0.9, True), (0.7, False), (0.6, True), (0.5, False), total=2),
        query((0.8, True), (0.4, False), total=1),
    ]
    best = threshold(queries, 1.0)
    assert best is not None
    assert (best.min_score, best.precision, best.recall, best.empty) == (0.8, 1.0, 2 / 3, 0.0)
    most = threshold(queries, 0.75)
    assert most is not None
    assert (most.min_score, most.precision, most.recall) == (0.6, 0.75, 1.0)
    half = threshold(queries, 0.5)
    assert half is not None
    assert half.min_score == 0.4


def test_results_of_one_score_are_kept_or_left_out_together() -> None:
    tied = [query((0.9, True), (0.5, True), total=2), query((0.5, False), (0.5, False), total=1)]
    best = threshold(tied, 0.6)
    assert best is not None
    assert best.min_score == 0.9
    assert best.empty == 0.5


def test_there_is_none_if_the_best_results_are_wrong() -> None:
    assert threshold([query((0.9, False), (0.1, True))], 0.9) is None
    assert threshold([query()], 0.5) is None


def test_the_interval_holds_the_precision_of_other_queries_of_the_same_kind() -> None:
    chosen = random.Random(5)

    def drawn(count: int) -> list[Scored]:
        made = []
        for _ in range(count):
            scores = sorted((chosen.random() for _ in range(20)), reverse=True)
            made.append(query(*((score, chosen.random() < score) for score in scores), total=10))
        return made

    found = threshold(drawn(200), 0.8)
    assert found is not None
    assert found.low < 0.8 <= found.precision < found.high
    others = [each for one in drawn(2000) for each in one.results if each[0] >= found.min_score]
    true = sum(right for _, right in others) / len(others)
    assert found.low - 0.02 <= true <= found.high + 0.02


@pytest.mark.parametrize("wanted", [0.3, 0.6, 0.9])
def test_precision_is_what_was_wanted_or_more(wanted: float) -> None:
    chosen = random.Random(1)
    results = sorted(((chosen.random(), chosen.random() < 0.5) for _ in range(50)), reverse=True)
    found = threshold([query(*results, total=25)], wanted)
    if found is not None:
        kept = [right for score, right in results if score >= found.min_score]
        assert sum(kept) / len(kept) == found.precision >= wanted
