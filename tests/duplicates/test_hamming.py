"""The index of hashes finds what comparing each one would find."""

from __future__ import annotations

import numpy as np
import pytest

from lookalike_serving.duplicates.hamming import HammingIndex


@pytest.mark.parametrize(("words", "radius"), [(4, 31), (4, 48), (1, 8)])
def test_it_finds_all_within_the_radius_nearest_first(words: int, radius: int) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 2**63, (3000, words), np.uint64)
    query = codes[7]
    for number in range(200):  # some that are near
        bits = rng.choice(64 * words, rng.integers(0, radius + 12), replace=False)
        near = np.unpackbits(query.view(np.uint8))
        near[bits] ^= 1
        codes[100 + number] = np.packbits(near).view(np.uint64)
    index: HammingIndex[int] = HammingIndex(words)
    for key, code in enumerate(codes):
        index.put(key, [code.tobytes()])
    away = np.bitwise_count(codes ^ query).sum(axis=1)
    found = index.search(query, radius)
    assert {key for key, _ in found} == set(np.flatnonzero(away <= radius).tolist())
    assert [distance for _, distance in found] == sorted(away[away <= radius].tolist())
    assert len(found) > 50


def test_a_key_with_several_hashes_is_found_once_by_its_nearest() -> None:
    index: HammingIndex[str] = HammingIndex(1)
    index.put("a", [(0).to_bytes(8, "little"), (1).to_bytes(8, "little")])
    assert index.search(np.array([3], np.uint64), 8) == [("a", 1)]


def test_a_key_that_is_put_again_or_removed_is_not_found_by_what_it_was() -> None:
    index: HammingIndex[str] = HammingIndex(1)
    index.put("a", [b"\0" * 8])
    index.put("b", [b"\0" * 8])
    index.put("a", [b"\xff" * 8])
    index.remove("b")
    index.remove("never there")
    assert index.search(np.zeros(1, np.uint64), 8) == []
    assert len(index) == 1
    index.put("c", [b"\0" * 8])  # takes a place that is free
    assert index.search(np.zeros(1, np.uint64), 8) == [("c", 0)]
