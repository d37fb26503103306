"""Hashes: what they keep of a picture, and what they say of edited ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.duplicates.pictures import NAMES, edited, photograph

from lookalike_serving.duplicates.hashes import (
    FLAT,
    HashedPicture,
    Hashes,
    Position,
    compare_hashes,
    content_hash,
    distance,
)

LAID = {
    Position.UPRIGHT: lambda a: a,
    Position.MIRRORED: np.fliplr,
    Position.UPSIDE_DOWN: lambda a: np.rot90(a, 2),
    Position.FLIPPED: np.flipud,
    Position.TRANSPOSED: lambda a: a.swapaxes(0, 1),
    Position.TURNED_RIGHT: lambda a: np.rot90(a, -1),
    Position.TURNED_LEFT: lambda a: np.rot90(a, 1),
    Position.TRANSVERSED: lambda a: np.rot90(a, 2).swapaxes(0, 1),
}
ASTRONAUT = "2d6b1af3a956c529e79ca3d2526fa834d4196c81cedd04de0a26b855fc99b724"


def test_pdq_is_that_of_its_authors() -> None:
    # Computed with the pdqhash package (0.2.8) from the same pixels.
    hashes = HashedPicture(photograph("astronaut.png", 512)).hashes
    assert hashes.pdq.hex() == ASTRONAUT
    assert hashes.quality == 100


@pytest.mark.parametrize("position", Position)
def test_the_hashes_of_a_laid_picture_follow_from_the_upright_one(position: Position) -> None:
    picture = photograph("coffee.png")
    (variant,) = [
        v for v in HashedPicture(picture).variants if v.position is position and v.part[0] == 0.0
    ]
    laid = HashedPicture(np.ascontiguousarray(LAID[position](picture))).hashes
    assert distance(variant.pdq, np.frombuffer(laid.pdq, np.uint64)) <= 31
    assert distance(variant.phash, np.frombuffer(laid.phash, np.uint64)) <= 2


@pytest.mark.parametrize("position", Position)
def test_a_position_says_where_each_place_goes(position: Position) -> None:
    spot = np.zeros((50, 100))
    spot[10, 20] = 1
    ((y, x),) = np.argwhere(LAID[position](spot))
    high, wide = LAID[position](spot).shape
    mapped = position.matrix @ (20.5 / 100, 10.5 / 50, 1)
    assert mapped[:2] == pytest.approx(((x + 0.5) / wide, (y + 0.5) / high))


@pytest.mark.parametrize("edit", ["jpeg", "half", "brighter", "grey", "blurred"])
@pytest.mark.parametrize("name", NAMES)
def test_edits_of_the_whole_picture_stay_near(name: str, edit: str) -> None:
    picture = photograph(name)
    asked = HashedPicture(edited(picture, edit)).variants
    near = compare_hashes(asked, HashedPicture(picture).hashes)
    assert near is not None
    assert near.pdq <= 31 or near.phash <= 4
    assert near.position is Position.UPRIGHT


def test_a_frame_and_a_crop_of_the_middle_are_seen_through() -> None:
    picture = photograph("chelsea.png")
    hashes = HashedPicture(picture).hashes
    framed = compare_hashes(HashedPicture(edited(picture, "framed")).variants, hashes)
    assert framed is not None
    assert framed.pdq <= 31
    high, wide = picture.shape[:2]
    cut = round((1 - 0.5**0.5) / 2 * high), round((1 - 0.5**0.5) / 2 * wide)
    middle = np.ascontiguousarray(picture[cut[0] : high - cut[0], cut[1] : wide - cut[1]])
    cropped = compare_hashes(HashedPicture(middle).variants, hashes)
    assert cropped is not None
    assert cropped.pdq <= 31
    assert cropped.document_part[0] > 0


def test_other_pictures_are_far() -> None:
    hashes = [HashedPicture(photograph(name)) for name in NAMES]
    for one in hashes:
        for other in hashes:
            if one is not other:
                near = compare_hashes(one.variants, other.hashes)
                assert near is not None
                assert near.pdq > 63


def test_a_flat_picture_has_no_hash_that_says_anything() -> None:
    sky = np.full((200, 300, 3), 180, np.uint8)
    sky[:, :, 2] = np.linspace(180, 200, 300, dtype=np.uint8)
    hashed = HashedPicture(sky)
    assert hashed.hashes.quality < FLAT
    assert hashed.variants == ()
    assert compare_hashes(HashedPicture(photograph("coffee.png")).variants, hashed.hashes) is None


def test_equal_pixels_have_equal_content_whatever_their_layout_in_memory() -> None:
    picture = photograph("coffee.png")
    assert content_hash(picture) == content_hash(np.asfortranarray(picture))
    one = picture.copy()
    one[0, 0, 0] ^= 1
    assert content_hash(picture) != content_hash(one)
    # As many bytes, another shape.
    flat = np.zeros((4, 6, 3), np.uint8)
    assert content_hash(flat) != content_hash(flat.reshape(6, 4, 3))


@given(st.binary(max_size=150) | st.text(max_size=200) | st.none() | st.integers())
def test_what_is_not_ours_is_no_hash(stored: object) -> None:
    assert Hashes.read(stored) is None


def test_what_is_stored_is_read_again() -> None:
    hashes = HashedPicture(photograph("coffee.png")).hashes
    assert Hashes.read(hashes.stored()) == hashes
    assert len(hashes.stored()) == 132


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_every_picture_has_hashes(height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    hashed = HashedPicture(pixels)
    assert Hashes.read(hashed.hashes.stored()) == hashed.hashes
    compare_hashes(hashed.variants, hashed.hashes)
