"""Hits of several collections become one ranked list."""

from __future__ import annotations

import pytest

from lookalike_crds.retriever import Fusion
from lookalike_serving.documents.layout import RESERVED
from lookalike_serving.index.protocol import Hit
from lookalike_serving.search.fusion import fuse


def hit(document_id: str, score: float, image: str | None = None) -> Hit:
    origin = {"document_id": document_id, "image": image or f"file:///{document_id}"}
    return Hit(f"point-{document_id}", score, {RESERVED: origin})


def order(candidates: list) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    return [(candidate.collection, candidate.document_id) for candidate in candidates]


def test_one_collection_keeps_its_scores_whatever_its_weight() -> None:
    fused = fuse({"a": [hit("x", 0.9), hit("y", 0.2)]}, {"a": 3.0}, Fusion.RRF)
    assert [candidate.score for candidate in fused] == [0.9, 0.2]


def test_weighted_fusion_multiplies_scores_by_weights() -> None:
    fused = fuse(
        {"a": [hit("x", 0.9), hit("y", 0.5)], "b": [hit("z", 0.6)]},
        {"a": 1.0, "b": 2.0},
        Fusion.WEIGHTED,
    )
    assert order(fused) == [("b", "z"), ("a", "x"), ("a", "y")]
    assert fused[0].score == pytest.approx(1.2)


def test_rrf_counts_ranks_not_scores() -> None:
    fused = fuse(
        {"a": [hit("x", 0.9), hit("y", 0.89)], "b": [hit("z", 0.1)]},
        {"a": 1.0, "b": 1.0},
        Fusion.RRF,
    )
    assert order(fused) == [("a", "x"), ("b", "z"), ("a", "y")]
    assert fused[0].score == pytest.approx(1 / 61)


def test_a_document_that_two_collections_find_is_one_result() -> None:
    fused = fuse(
        {"a": [hit("x", 0.9), hit("same", 0.8)], "b": [hit("same", 0.7)]},
        {"a": 1.0, "b": 1.0},
        Fusion.RRF,
    )
    assert order(fused) == [("a", "same"), ("a", "x")]
    assert fused[0].score == pytest.approx(1 / 62 + 1 / 61)


def test_equal_ids_of_different_images_stay_two_documents() -> None:
    fused = fuse(
        {
            "a": [hit("1.jpg", 0.9, "file:///shoes/1.jpg")],
            "b": [hit("1.jpg", 0.8, "file:///bags/1.jpg")],
        },
        {"a": 1.0, "b": 1.0},
        Fusion.WEIGHTED,
    )
    assert order(fused) == [("a", "1.jpg"), ("b", "1.jpg")]


def test_equal_scores_keep_one_order() -> None:
    hits = {"b": [hit("y", 0.5)], "a": [hit("x", 0.5)]}
    assert order(fuse(hits, {"a": 1.0, "b": 1.0}, Fusion.WEIGHTED)) == [("a", "x"), ("b", "y")]
