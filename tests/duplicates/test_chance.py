"""From which score two pictures look alike: measured on the pictures of a collection."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.duplicates.pictures import NAMES, photograph

from lookalike_serving.duplicates.chance import LEAST_SIMILAR, Chance, measured
from lookalike_serving.duplicates.hashes import HashedPicture, Hashes

NOW = "2026-03-01T00:00:00+00:00"


def vectors(count: int, alike: float, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors whose cosines are about `alike`."""
    rng = np.random.default_rng(seed)
    common = np.zeros(64)
    common[0] = (alike * 64 / (1 - alike)) ** 0.5
    found = common + rng.normal(0, 1, (count, 64))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def chance(some: NDArray[np.float32], hashes: list[Hashes | None] | None = None) -> Chance:
    told = hashes or [None] * len(some)
    return measured(list(zip(some, told, strict=True)), len(some), "m", NOW)


@pytest.mark.parametrize("target", [0.1, 0.01, 0.001, 0.0001])
def test_no_larger_share_of_the_pairs_reaches_the_threshold(target: float) -> None:
    some = vectors(300, 0.7)
    from_ = chance(some).similar_from(target)
    scores = (some @ some.T)[np.triu_indices(300, 1)]
    assert from_ is not None
    share = float((scores >= from_).mean())
    assert share <= target
    assert share >= target / 1.5 or target * len(scores) < 10  # and is not far from it


def test_a_smaller_share_never_lowers_the_threshold() -> None:
    told = chance(vectors(120, 0.8))
    found = [told.similar_from(target) for target in (0.1, 0.05, 0.01, 1e-3, 1e-5, 1e-9)]
    assert None not in found
    assert found == sorted(each for each in found if each is not None)


def test_it_holds_for_other_pictures_of_the_collection() -> None:
    """Measured on one part of a collection, counted on another."""
    from_ = chance(vectors(300, 0.7)).similar_from(0.01)
    others = vectors(300, 0.7, seed=1)
    assert from_ is not None
    assert ((others @ others.T)[np.triu_indices(300, 1)] >= from_).mean() < 0.02


def test_different_pictures_that_have_nothing_in_common_do_not_lower_it_without_end() -> None:
    assert chance(vectors(60, 0.01)).similar_from(0.1) == LEAST_SIMILAR


def test_pairs_that_are_the_same_picture_are_left_out() -> None:
    hashes = [HashedPicture(photograph(name)).hashes for name in NAMES[:3]]
    mirrored = HashedPicture(np.ascontiguousarray(photograph(NAMES[0])[:, ::-1])).hashes
    some = vectors(41, 0.6)
    some[1] = some[2] = some[0]
    told = chance(some, [hashes[0], hashes[0], mirrored, *hashes[1:], *[None] * 36])
    plain = chance(some)
    assert told.copies == 3
    assert told.pairs == plain.pairs - 3
    assert told.similar_from(1e-6) is not None
    assert told.similar_from(1e-6) < plain.similar_from(1e-6)  # type: ignore[operator]


def test_three_pictures_are_too_few_to_tell() -> None:
    told = chance(vectors(3, 0.9))
    assert told.pairs == 3
    assert told.similar_from(0.1) is None
    assert chance(vectors(0, 0.5)).similar_from(0.1) is None


def test_a_thousand_times_the_same_picture_tell_nothing() -> None:
    same = HashedPicture(photograph(NAMES[0])).hashes
    told = chance(np.repeat(vectors(1, 0.5), 1000, axis=0), [same] * 1000)
    assert told.pairs == 0
    assert told.copies == 499_500
    assert told.similar_from(0.001) is None
    assert Chance.read(told.as_payload()) == told


def test_a_thousand_equal_embeddings_of_different_pictures_are_never_similar() -> None:
    """A model that tells nothing apart: as before, nothing is said of pictures."""
    told = chance(np.repeat(vectors(1, 0.5), 200, axis=0))
    from_ = told.similar_from(0.001)
    assert from_ is not None
    assert from_ > 0.999


def test_zeroes_and_what_is_no_number_change_nothing() -> None:
    some = vectors(60, 0.7)
    some[3] = 0
    some[4] = np.nan
    told = chance(some)
    assert told.pairs == 59 * 58 // 2
    assert np.isfinite(told.scores).all()


def test_it_is_measured_again_as_the_collection_grows_or_for_another_model() -> None:
    told = chance(vectors(100, 0.7))
    assert told.holds("m", 100)
    assert told.holds("m", 119)
    assert not told.holds("m", 125)
    assert not told.holds("m", 75)
    assert not told.holds("other", 100)


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"ranks": 3}',
        '{"ranks": [1], "scores": [0.5]}',
        "{",
    ],
)
def test_a_damaged_record_is_none(damaged: str) -> None:
    assert Chance.read({"chance": damaged}) is None
    assert Chance.read({}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [0.5]},
        {"ranks": []},
        {"pairs": "many"},
        {"documents": -1},
        {"model": None},
        {"more": 1},
        {"ranks": ["a"]},
        {"scores": [float("nan")] * 100},
    ],
)
def test_a_record_that_contradicts_itself_is_none(change: dict[str, object]) -> None:
    told = json.loads(chance(vectors(60, 0.7)).as_payload()["chance"])
    assert Chance.read({"chance": json.dumps(told)}) is not None
    assert Chance.read({"chance": json.dumps(told | change)}) is None
