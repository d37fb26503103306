"""Features stand for a picture that nobody opens again."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from tests.duplicates.pictures import EDITS, edited, photograph

from lookalike_serving.duplicates.compare import Picture, StoredPicture, compare
from lookalike_serving.duplicates.features import Features
from lookalike_serving.duplicates.thresholds import THRESHOLDS
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict

BALANCED = THRESHOLDS[Sensitivity.BALANCED]


def kept(name: str) -> StoredPicture:
    pixels = photograph(name)
    features = Features.read(Features.of(pixels).stored())
    assert features is not None
    high, wide = pixels.shape[:2]
    return StoredPicture(features, Picture(pixels).hashes, wide, high)


def test_what_is_stored_is_read_again() -> None:
    picture, again = Picture(photograph("coffee.png")), kept("coffee.png")
    assert np.abs(again.keypoints.places - picture.keypoints.places).max() <= 1 / 64
    likeness = (again.keypoints.unit * picture.keypoints.unit).sum(axis=1)
    assert likeness.min() > 0.98
    assert again.view.shape == picture.view.shape
    assert np.abs(again.view.astype(int) - picture.view).mean() < 4


@pytest.mark.parametrize("edit", EDITS)
def test_verdicts_are_those_of_the_image(edit: str) -> None:
    query = Picture(edited(photograph("chelsea.png"), edit))
    assert compare(query, kept("chelsea.png"), BALANCED).verdict is Verdict.COPY
    assert compare(query, kept("coins.png"), BALANCED).verdict is None


def test_a_scan_compares_features_with_features() -> None:
    one, other = kept("astronaut.png"), kept("rocket.jpg")
    assert compare(one, other, BALANCED).verdict is None
    pixels = edited(photograph("astronaut.png"), "cropped")
    high, wide = pixels.shape[:2]
    crop = StoredPicture(Features.of(pixels), Picture(pixels).hashes, wide, high)
    assert compare(crop, one, BALANCED).verdict is Verdict.COPY


def test_a_picture_without_keypoints_has_features_too() -> None:
    flat = Features.read(Features.of(np.full((40, 3, 3), 7, np.uint8)).stored())
    assert flat is not None
    assert len(flat.keypoints()) == 0
    assert flat.view().shape == (40, 3, 3)


@pytest.mark.parametrize("cut", [0, 4, 12, 20_000, -1])
def test_what_is_damaged_is_not_read(cut: int) -> None:
    raw = base64.b64decode(Features.of(photograph("coins.png")).stored())
    damaged = b"\x63" + raw[1:] if cut == -1 else raw[:cut]
    assert Features.read(base64.b64encode(damaged).decode()) is None
    assert Features.read("no base64 at all, é") is None
    assert Features.read(None) is None
