"""Several weighted queries become one vector that ranks as their weighted scores would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.image_collection import Distance
from lookalike_serving.problems import Problem
from lookalike_serving.search.combine import EmbeddedQuery, combine, similarities
from lookalike_serving.search.request import QueryType


def queries(*weighted: tuple[float, list[float]]) -> list[EmbeddedQuery]:
    return [
        EmbeddedQuery(i, QueryType.VECTOR, weight, np.array(vector, dtype=np.float32))
        for i, (weight, vector) in enumerate(weighted)
    ]


def random_queries(seed: int, weights: list[float]) -> list[EmbeddedQuery]:
    rng = np.random.default_rng(seed)
    return queries(*[(w, list(rng.standard_normal(8) * 3)) for w in weights])


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.lists(st.floats(0.1, 5) | st.floats(-5, -0.1), min_size=1, max_size=4))
def test_cosine_ranks_as_the_weighted_sum_of_scores(seed: int, weights: list[float]) -> None:
    combined = combine(random_queries(seed, weights), Distance.COSINE)
    documents = np.random.default_rng(seed + 1).standard_normal((20, 8)).astype(np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    summed = [float(np.dot(weights, similarities(combined, d))) for d in documents]
    asked = documents @ combined.vector
    assert np.allclose(asked, np.array(summed) * combined.scale, atol=1e-4)


@given(seeds, st.lists(st.floats(-5, 5), min_size=1, max_size=4))
def test_dot_adds_up_the_scores(seed: int, weights: list[float]) -> None:
    combined = combine(random_queries(seed, weights), Distance.DOT)
    document = np.random.default_rng(seed + 1).standard_normal(8).astype(np.float32)
    summed = float(np.dot(weights, similarities(combined, document)))
    assert float(document @ combined.vector) == pytest.approx(summed, abs=1e-3)


@given(seeds, st.lists(st.floats(0.1, 5), min_size=1, max_size=4))
def test_euclid_ranks_as_the_weighted_sum_of_squared_distances(
    seed: int, weights: list[float]
) -> None:
    parts = random_queries(seed, weights)
    combined = combine(parts, Distance.EUCLID)
    documents = np.random.default_rng(seed + 1).standard_normal((20, 8))
    summed = [sum(p.weight * float(np.sum((p.vector - d) ** 2)) for p in parts) for d in documents]
    asked = [float(np.sum((combined.vector - d) ** 2)) for d in documents]
    constant = np.array(summed) / sum(weights) - np.array(asked)
    assert np.allclose(constant, constant[0], atol=1e-3)


def test_the_length_of_a_cosine_query_does_not_matter() -> None:
    short = combine(queries((1, [3, 4]), (1, [0, 1])), Distance.COSINE)
    long = combine(queries((1, [300, 400]), (1, [0, 1])), Distance.COSINE)
    assert np.allclose(short.vector, long.vector)


def test_a_single_query_keeps_its_scores_whatever_its_weight() -> None:
    once = combine(queries((1, [3, 4])), Distance.COSINE)
    twice = combine(queries((2, [3, 4])), Distance.COSINE)
    assert np.allclose(once.vector, twice.vector)


def test_very_long_vectors_keep_their_direction() -> None:
    assert np.allclose(combine(queries((1, [3e17, 4e17])), Distance.COSINE).vector, [0.6, 0.8])


@pytest.mark.parametrize(
    ("weighted", "distance", "message"),
    [
        (queries((1, [1, 0]), (-1, [1, 0])), Distance.COSINE, "cancel one another out"),
        (queries((1, [0, 0])), Distance.COSINE, "zero vector"),
        (queries((1, [1, 0]), (-2, [0, 1])), Distance.EUCLID, "must be positive"),
    ],
)
def test_queries_without_a_direction_are_refused(
    weighted: list[EmbeddedQuery], distance: Distance, message: str
) -> None:
    with pytest.raises(Problem, match=message):
        combine(weighted, distance)
