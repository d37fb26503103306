"""All pairs of near hashes: each with each, by tables, and in other positions."""

from __future__ import annotations

import numpy as np
import pytest
from tests.duplicates.pictures import photograph

from lookalike_serving.duplicates import hash_join
from lookalike_serving.duplicates.hash_join import POSITION_BITS, near, positions
from lookalike_serving.duplicates.hashes import HashedPicture, Position


def near_codes(count: int, pairs: int, away: int) -> np.ndarray:
    """Random hashes; the last `pairs` differ from the first ones in `away` bits."""
    random = np.random.default_rng(1)
    bits = random.integers(0, 2, (count, 256), np.uint8)
    bits[-pairs:] = bits[:pairs]
    for row in range(pairs):
        bits[count - pairs + row, random.choice(256, away, replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


def test_few_hashes_are_all_compared() -> None:
    codes = near_codes(600, 200, 31)
    found = near(codes, None, 31)
    assert found.tolist() == [[n, 400 + n, 31] for n in range(200)]
    assert len(near(codes, None, 30)) == 0
    both = near(codes, codes[:5], 0)
    assert both.tolist() == [[n, n, 0] for n in range(5)]


@pytest.mark.parametrize(("away", "least"), [(31, 0.95), (20, 1.0)])
def test_tables_find_the_same_pairs(
    away: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_join, "_EACH_WITH_EACH", 0)
    codes = near_codes(3000, 400, away)
    found = near(codes, None, 31)
    expected = {(n, 2600 + n) for n in range(400)}
    assert {(a, b) for a, b, _ in found.tolist()} <= expected
    assert len(found) >= least * len(expected)
    assert set(found[:, 2].tolist()) == {away}
    assert np.array_equal(found, near(codes, None, 31))
    few = near(codes[:40], codes, 31)
    assert len(few) >= least * 80
    assert set(few[few[:, 0] != few[:, 1], 2].tolist()) == {away}
    across = near(codes[:400], codes[2600:], 31)
    assert {a for a, b, _ in across.tolist() if a == b} == {a for a, b, _ in across.tolist()}
    assert len(across) >= least * 400


@pytest.mark.parametrize("position", list(Position))
def test_hashes_of_other_positions_follow_from_stored_bits(position: Position) -> None:
    """But for the few bits of frequencies between the median and its negative."""
    for name in ("astronaut.png", "chelsea.png", "coffee.png"):
        picture = HashedPicture(photograph(name))
        stored = np.frombuffer(picture.hashes.pdq, np.uint64)[None]
        [laid] = [v for v in picture.variants if v.position is position][:1]
        away = int(np.bitwise_count(positions(stored, position)[0] ^ laid.pdq).sum())
        assert away <= POSITION_BITS
