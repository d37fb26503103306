"""Which documents are compared: equal pixels, near hashes, near embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike_crds.image_collection import Distance
from lookalike_serving.duplicates.hash_join import positions
from lookalike_serving.duplicates.hashes import Hashes, Position
from lookalike_serving.scans import candidates as module
from lookalike_serving.scans.candidates import HashColumns, candidates, nearest_from

RANDOM = np.random.default_rng(3)


def hashes(content: int, pdq: bytes | None = None, *, quality: int = 100) -> Hashes:
    random = RANDOM.bytes(32)
    return Hashes(
        content.to_bytes(16, "big"), quality, pdq or random, bytes(8), RANDOM.bytes(32), bytes(8)
    )


def columns(*given: Hashes | None) -> HashColumns:
    made = HashColumns()
    for each in given:
        made.add(each)
    return made


def pairs(
    made: HashColumns, near: list[tuple[int, int]], fresh: list[bool]
) -> list[tuple[int, int]]:
    found = candidates(made, near, np.array(fresh), 31)
    return [(a, b) for a, b in found.tolist()]


def test_the_first_of_those_with_equal_pixels_stands_for_all() -> None:
    first, other = hashes(1), hashes(2)
    made = columns(first, other, hashes(1, first.pdq), None, hashes(1, first.pdq))
    assert pairs(made, [], [True] * 5) == [(0, 2), (0, 4)]
    assert pairs(made, [(1, 4), (3, 1)], [True] * 5) == [(0, 1), (0, 2), (0, 4), (1, 3)]


def test_hashes_that_are_near_in_another_position_propose_a_pair() -> None:
    one = hashes(1)
    turned = positions(np.frombuffer(one.pdq, np.uint64)[None], Position.TURNED_LEFT)
    flat = hashes(4, one.pdq, quality=0)
    made = columns(hashes(2, turned.tobytes()), one, hashes(3), flat)
    assert pairs(made, [], [True] * 4) == [(0, 1)]


def test_pairs_of_documents_with_earlier_results_are_left_out() -> None:
    one, other = hashes(1), hashes(2)
    made = columns(one, other, hashes(3, one.pdq), hashes(4, other.pdq), hashes(1, one.pdq))
    assert pairs(made, [], [False] * 5) == []
    assert pairs(made, [], [False, False, True, False, False]) == [(0, 2)]
    # The newcomer has the pixels of one that stands for both.
    assert pairs(made, [], [False, False, False, False, True]) == [(0, 2), (0, 4)]


@pytest.mark.parametrize(
    ("position", "middle"),
    [
        *((each, False) for each in Position),
        (Position.UPRIGHT, True),
        (Position.MIRRORED, True),
    ],
)
@pytest.mark.parametrize("newer", [0, 1])
def test_joining_the_fresh_ones_alone_proposes_what_joining_all_does(
    position: Position, middle: bool, newer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = hashes(1)
    part = np.frombuffer(one.middle_pdq if middle else one.pdq, np.uint64)[None]
    made = columns(one, hashes(2, positions(part, position).tobytes()), hashes(3), hashes(4))
    fresh = [each == newer for each in range(4)]
    monkeypatch.setattr(module, "_FEW", 0)
    assert pairs(made, [], fresh) == [(0, 1)]
    monkeypatch.setattr(module, "_FEW", 1)
    assert pairs(made, [], fresh) == [(0, 1)]


@pytest.mark.parametrize("distance", list(Distance))
def test_neighbours_are_candidates_from_what_different_pictures_seldom_reach(
    distance: Distance,
) -> None:
    vectors = list(RANDOM.normal(size=(400, 16)).astype(np.float32))
    few = nearest_from(vectors, distance, 1_000, 3)
    many = nearest_from(vectors, distance, 1_000_000, 3)
    assert few is not None
    assert many is not None
    assert many > few
    # Copies within the sample, even as many as this, change little.
    copies = nearest_from([*vectors, *vectors[:40]], distance, 1_000, 3)
    assert copies == pytest.approx(few, rel=0.05)
    assert nearest_from(vectors[:10], distance, 1_000, 3) is None
