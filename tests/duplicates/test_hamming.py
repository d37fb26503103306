"""A search among hashes finds what comparing each one would find."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike_serving.duplicates.hamming import nearest, no_codes, with_room


@pytest.mark.parametrize(("words", "radius"), [(4, 31), (4, 48), (1, 8)])
def test_it_finds_all_within_the_radius(words: int, radius: int) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2**63, (3000, words), np.uint64)
    query = codes[7]
    for number in range(200):  # some that are near
        bits = rng.choice(64 * words, rng.integers(0, radius + 12), replace=False)
        near = np.unpackbits(query.view(np.uint8))
        near[bits] ^= 1
        codes[100 + number] = np.packbits(near).view(np.uint64)
    away = np.bitwise_count(codes ^ query).sum(axis=1)
    found = nearest(np.ascontiguousarray(codes.T), query, radius)
    assert set(found) == set(np.flatnonzero(away <= radius).tolist())
    assert sorted(found.values()) == sorted(away[away <= radius].tolist())
    assert len(found) > 50


def test_a_hash_that_is_near_to_several_queries_has_its_least_distance() -> None:
    codes = np.array([[0, 1]], np.uint64)
    assert nearest(codes, np.array([[3], [1]], np.uint64), 8) == {0: 1, 1: 0}


def test_room_for_more_keeps_what_is_there() -> None:
    codes = no_codes(1)
    codes[0, :] = 7
    grown = with_room(codes, codes.shape[1])
    assert grown.shape[1] > codes.shape[1]
    assert (grown[:, : codes.shape[1]] == codes).all()
    assert with_room(grown, codes.shape[1]) is grown
