"""Verdicts on small photographs: what is a copy, what is the same, and what only looks alike."""

from __future__ import annotations

import io
import itertools
import json
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance
from tests.duplicates.pictures import EDITS, NAMES, Pixels, edited, photograph
from tests.support.pictures import drawn

from lookalike_serving.duplicates.compare import Picture, compare
from lookalike_serving.duplicates.thresholds import THRESHOLDS
from lookalike_serving.duplicates.verdicts import Difference, Sensitivity, Verdict

BALANCED = THRESHOLDS[Sensitivity.BALANCED]


@cache
def document(name: str) -> Picture:
    return Picture(photograph(name))


def verdict(query: Pixels, name: str, sensitivity: str = "balanced") -> Verdict | None:
    return compare(Picture(query), document(name), THRESHOLDS[Sensitivity(sensitivity)]).verdict


@pytest.mark.parametrize("name", NAMES)
def test_the_same_pixels_are_exact(name: str) -> None:
    told = compare(Picture(photograph(name).copy()), document(name), BALANCED)
    assert told.verdict is Verdict.EXACT
    assert told.confidence == 1.0
    assert told.evidence.content_hash


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", NAMES)
def test_an_edited_picture_is_a_copy(name: str, edit: str) -> None:
    query = edited(photograph(name), edit)
    if np.array_equal(query, photograph(name)):
        pytest.skip("this edit changes nothing of a grey picture")
    assert verdict(query, name) is Verdict.COPY


def test_other_pictures_are_neither_even_to_a_loose_eye() -> None:
    for name in NAMES:
        query = Picture(photograph(name))
        for other in NAMES:
            if other != name:
                told = compare(query, document(other), THRESHOLDS[Sensitivity.LOOSE])
                assert told.verdict is None, (name, other)


def test_the_other_picture_of_a_stereo_pair_is_no_copy() -> None:
    assert verdict(photograph("motorcycle_right.png"), "motorcycle_left.png") is None


def test_what_has_moved_a_little_is_no_copy() -> None:
    """A neighbour in a burst: displacements of about 1 % of the width, another for each part."""
    for name in ("astronaut.png", "coffee.png", "chelsea.png"):
        pixels = photograph(name)
        high, wide = pixels.shape[:2]
        coarse = np.random.default_rng(5).normal(0, wide * 0.012, (4, 5, 2)).astype(np.float32)
        field = cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_CUBIC)
        y, x = np.mgrid[:high, :wide].astype(np.float32)
        moved = cv2.remap(
            pixels, x + field[..., 0], y + field[..., 1], cv2.INTER_CUBIC, borderMode=4
        )
        assert verdict(np.asarray(moved, np.uint8), name) is None, name


def test_a_thing_in_another_colour_is_no_copy() -> None:
    for name in ("astronaut.png", "coffee.png"):
        hsv = cv2.cvtColor(photograph(name), cv2.COLOR_RGB2HSV)
        strong = hsv[..., 1] > 90
        hsv[..., 0] = np.where(strong, (hsv[..., 0].astype(int) + 90) % 180, hsv[..., 0])
        recoloured = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
        assert verdict(recoloured, name) is None, name


def sky(top: tuple[int, int, int]) -> Pixels:
    """A skyline, half of it below a sky without texture, which gets darker towards the top."""
    photo = photograph("coffee.png")[:200, :320]
    shade = np.linspace(0.8, 1.0, 160)[:, None, None]
    above = np.broadcast_to(shade * np.array(top), (160, 320, 3)).astype(np.uint8)
    return np.concatenate([above, photo])


@pytest.mark.parametrize("sensitivity", Sensitivity)
def test_a_plain_part_in_another_colour_of_the_same_brightness_is_no_copy(
    sensitivity: Sensitivity,
) -> None:
    """Blocks without texture do not correlate, and are compared by their hue all the same."""
    blue, green = Picture(sky((70, 110, 160))), Picture(sky((100, 120, 50)))
    told = compare(green, blue, THRESHOLDS[sensitivity], cosine=0.9, similar_from=0.8)
    assert told.verdict is Verdict.SIMILAR
    assert told.evidence.differs == (Difference.HUE,)
    assert told.evidence.region is None


@pytest.mark.parametrize(
    "edit", ["brighter", "darker", "paler", "more vivid", "contrast", "JPEG quality 20", "sticker"]
)
def test_a_change_of_the_whole_picture_is_a_copy_of_a_plain_part_too(edit: str) -> None:
    image = Image.fromarray(sky((70, 110, 160)))
    match edit:
        case "brighter" | "darker":
            image = ImageEnhance.Brightness(image).enhance(1.4 if edit == "brighter" else 0.6)
        case "paler" | "more vivid":
            image = ImageEnhance.Color(image).enhance(0.5 if edit == "paler" else 2.0)
        case "contrast":
            image = ImageEnhance.Contrast(image).enhance(1.6)
        case "sticker":
            ImageDraw.Draw(image).ellipse((110, 40, 180, 110), (255, 205, 40))
        case _:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=20)
            image = Image.open(buffer).convert("RGB")
    told = compare(Picture(np.asarray(image)), Picture(sky((70, 110, 160))), BALANCED)
    assert told.verdict is Verdict.COPY
    assert told.evidence.differs is None


@pytest.mark.parametrize("sensitivity", Sensitivity)
def test_a_vivid_thing_on_white_in_another_colour_is_no_copy(sensitivity: Sensitivity) -> None:
    """Colours at the end of their scale are compared, too: the white around them is not theirs."""
    colours = ("red", "green", "blue", "orange", "purple")
    things = {colour: Picture(np.asarray(drawn(colour))) for colour in colours}
    for a, b in itertools.permutations(colours, 2):
        told = compare(things[a], things[b], THRESHOLDS[sensitivity])
        assert told.verdict is None, (a, b)


def test_what_is_covered_is_a_copy_but_not_to_a_strict_eye() -> None:
    covered = edited(photograph("coffee.png"), "covered")
    assert verdict(covered, "coffee.png", "balanced") is Verdict.COPY
    told = compare(Picture(covered), document("coffee.png"), BALANCED)
    assert told.evidence.transform is not None
    assert told.evidence.agreement is not None
    assert told.evidence.agreement < 0.97


def test_the_evidence_says_where_and_how() -> None:
    picture = photograph("coffee.png")
    high, wide = picture.shape[:2]
    part = np.ascontiguousarray(picture[high // 4 :, wide // 2 :, :][:, ::-1])
    told = compare(Picture(part), document("coffee.png"), BALANCED)
    assert told.verdict is Verdict.COPY
    transform, region = told.evidence.transform, told.evidence.region
    assert transform is not None
    assert region is not None
    assert transform.mirror
    assert {"crop", "mirror"} <= set(transform.edits)
    assert transform.crop == pytest.approx(3 / 8, abs=0.02)
    assert transform.scale == pytest.approx(1, abs=0.02)
    assert abs(transform.rotation) < 1
    assert np.array(region.query) == pytest.approx(
        np.array([(0, 0), (1, 0), (1, 1), (0, 1)]), abs=0.03
    )
    # Its left edge is the document's right one.
    assert np.array(region.document) == pytest.approx(
        np.array([(1, 0.25), (0.5, 0.25), (0.5, 1), (1, 1)]), abs=0.03
    )


def test_rotation_is_told_in_degrees_clockwise() -> None:
    turned = Image.fromarray(photograph("astronaut.png")).rotate(-10, Image.Resampling.BICUBIC)
    told = compare(Picture(np.asarray(turned)), document("astronaut.png"), BALANCED)
    assert told.evidence.transform is not None
    assert told.evidence.transform.rotation == pytest.approx(10, abs=0.5)


def test_what_looks_alike_is_similar_only_by_its_embedding() -> None:
    query = Picture(photograph("coins.png"))
    told = compare(query, document("gravel.png"), BALANCED, cosine=0.8, similar_from=0.7)
    assert told.verdict is Verdict.SIMILAR
    assert told.evidence.cosine == 0.8
    assert compare(query, document("gravel.png"), BALANCED, cosine=0.8).verdict is None


def test_evidence_is_json() -> None:
    told = compare(
        Picture(edited(photograph("coffee.png"), "turned")), document("coffee.png"), BALANCED
    )
    shown = json.loads(json.dumps(told.evidence.as_json()))
    assert shown["transform"]["edits"]
    assert len(shown["region"]["query"]) == 4


SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 90))
KINDS = st.sampled_from(["noise", "flat", "stripes", "photograph", "squares"])


def patterned(kind: str, shape: tuple[int, int], seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    high, wide = shape
    match kind:
        case "noise":
            return rng.integers(0, 256, (high, wide, 3), np.uint8)
        case "flat":
            return np.full((high, wide, 3), rng.integers(0, 256), np.uint8)
        case "stripes":
            return np.broadcast_to(
                (np.arange(wide) % 7 < 3)[None, :, None] * np.uint8(255), (high, wide, 3)
            ).copy()
        case "squares":
            y, x = np.mgrid[:high, :wide]
            return np.repeat((((x // 5 + y // 5) % 2) * 255)[..., None], 3, 2).astype(np.uint8)
        case _:
            image = Image.fromarray(photograph("coffee.png"))
            return np.asarray(image.resize((wide * 4, high * 4)))


@settings(max_examples=60, deadline=None)
@given(KINDS, KINDS, SHAPES, SHAPES, st.integers(0, 99))
def test_no_pair_of_pictures_raises(
    kind: str, other: str, shape: tuple[int, int], other_shape: tuple[int, int], seed: int
) -> None:
    query, there = patterned(kind, shape, seed), patterned(other, other_shape, seed + 1)
    told = compare(Picture(query), Picture(there), THRESHOLDS[Sensitivity.LOOSE])
    json.dumps(told.evidence.as_json())
