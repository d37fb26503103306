"""Stages reorder candidates; grouping keeps the best of each value."""

from __future__ import annotations

from typing import Any

import numpy as np

import lookalike_crds.stages as declared
from lookalike_crds.stages import BoostStage, DiversityStage
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.tree import HasId, Not
from lookalike_serving.index.protocol import Hit
from lookalike_serving.search.candidates import Candidate
from lookalike_serving.search.grouping import best_of_each, unseen
from lookalike_serving.search.rerank import extra_filters, fetch_limit, fields_of, rerank
from lookalike_serving.search.stages import stage_of
from lookalike_serving.search.stages.stage import STAGES


def candidate(
    name: str, score: float, vector: list[float] | None = None, **metadata: Any
) -> Candidate:
    stored = None if vector is None else np.array(vector, dtype=np.float32)
    return Candidate("c", Hit(name, score, metadata, vector=stored), score)


def names(candidates: list[Candidate]) -> list[str]:
    return [each.hit.id for each in candidates]


def boost(candidates: list[Candidate], stage: BoostStage) -> list[Candidate]:
    return stage_of(stage).apply(candidates, len(candidates))


def diversify(candidates: list[Candidate], trade_off: float, top_k: int) -> list[Candidate]:
    return stage_of(DiversityStage(trade_off=trade_off)).apply(candidates, top_k)


def test_each_declared_stage_is_carried_out_by_one_class() -> None:
    assert set(STAGES) == set(declared.STAGES)


def test_stages_together_want_what_each_of_them_wants() -> None:
    stages = [
        stage_of(DiversityStage()),
        stage_of(BoostStage(field="status", value="active", weight=1)),
    ]
    assert fields_of(stages) == ["status"]
    assert fetch_limit(stages, 10) == 100
    assert fetch_limit(stages[1:], 10) == fetch_limit([], 10) == 10


def test_diversity_takes_something_else_before_a_second_copy() -> None:
    found = [
        candidate("red", 0.9, [1, 0]),
        candidate("red again", 0.89, [1, 0.01]),
        candidate("blue", 0.8, [0, 1]),
    ]
    assert names(diversify(found, 0.5, 3)) == ["red", "blue", "red again"]


def test_diversity_with_relevance_alone_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    found = [candidate(str(i), 1 - i / 50, list(rng.standard_normal(4))) for i in range(50)]
    assert diversify(found, 1.0, 50) == found


def test_diversity_keeps_scores_and_loses_no_candidate() -> None:
    rng = np.random.default_rng(0)
    found = [candidate(str(i), 1 - i / 50, list(rng.standard_normal(4))) for i in range(50)]
    ordered = diversify(found, 0.3, 10)
    assert sorted(names(ordered)) == sorted(names(found))
    assert {c.hit.id: c.score for c in ordered} == {c.hit.id: c.score for c in found}


def test_diversity_matches_its_definition() -> None:
    rng = np.random.default_rng(1)
    found = [
        candidate(str(i), float(s), list(rng.standard_normal(6)))
        for i, s in enumerate(sorted(rng.random(30), reverse=True))
    ]
    vectors = np.stack([c.hit.vector for c in found if c.hit.vector is not None])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.array([c.score for c in found])
    relevance = (scores - scores.min()) / (scores.max() - scores.min())
    picked: list[int] = []
    while len(picked) < 10:
        gains = [
            -np.inf
            if i in picked
            else 0.6 * relevance[i]
            - 0.4 * max([0.0, *(float(vectors[i] @ vectors[j]) for j in picked)])
            for i in range(30)
        ]
        picked.append(int(np.argmax(gains)))
    assert names(diversify(found, 0.6, 10))[:10] == [str(i) for i in picked]


def test_boost_adds_its_weight_to_matching_documents() -> None:
    found = [candidate("a", 0.9, status="sold"), candidate("b", 0.7, status="active")]
    boosted = boost(found, BoostStage(field="status", value="active", weight=0.5))
    assert [(c.hit.id, round(c.score, 6)) for c in boosted] == [("b", 1.2), ("a", 0.9)]


def test_boost_matches_members_of_lists_and_tells_true_from_one() -> None:
    found = [candidate("list", 0.1, tag=["x", "y"]), candidate("one", 0.1, tag=1)]
    assert boost(found, BoostStage(field="tag", value="y", weight=1))[0].hit.id == "list"
    assert {c.score for c in boost(found, BoostStage(field="tag", value=True, weight=1))} == {0.1}


def test_a_boost_asks_the_index_for_what_it_favours() -> None:
    match = condition("status", "eq", "active")
    up = BoostStage(field="status", value="active", weight=1)
    down = BoostStage(field="status", value="active", weight=-1)
    neutral = BoostStage(field="status", value="active", weight=0)
    assert extra_filters([stage_of(each) for each in (up, down, neutral)]) == [match, Not((match,))]


def test_steps_record_every_stage_in_order() -> None:
    found = [candidate("a", 0.9, [1, 0], s="x"), candidate("b", 0.7, [0, 1], s="y")]
    stages = [stage_of(DiversityStage()), stage_of(BoostStage(field="s", value="y", weight=1))]
    best = rerank(found, stages, 2, trace=True)[0]
    assert [(s.stage, s.rank) for s in best.steps] == [("Diversity", 2), ("Boost", 1)]


def test_grouping_keeps_the_best_of_each_value() -> None:
    found = [candidate(n, 1.0, maker=m) for n, m in [("1", "A"), ("2", "A"), ("3", "B")]]
    assert names(best_of_each(found, "maker")) == ["1", "3"]


def test_grouping_keeps_every_document_without_the_key() -> None:
    found = [candidate("1", 1.0), candidate("2", 1.0), candidate("3", 1.0, maker=None)]
    assert names(best_of_each(found, "maker")) == ["1", "2", "3"]


def test_grouping_tells_values_of_different_types_apart() -> None:
    found = [candidate(str(v), 1.0, v=v) for v in (1, "1", True, 1.5, ["1"], {"a": 1})]
    assert len(best_of_each(found, "v")) == 5


def test_the_next_round_leaves_out_groups_already_seen() -> None:
    found = [candidate("p", 1.0, m="A"), candidate("q", 1.0, m=7), candidate("r", 1.0)]
    assert unseen(found, "m") == Not(
        (
            condition("m", "in", ["A"]),
            condition("m", "in", [7]),
            HasId(("r",)),
        )
    )
