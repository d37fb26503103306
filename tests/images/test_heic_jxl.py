"""HEIC and JPEG XL: read where their libraries are, and refused with the remedy where not."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lookalike_serving.images import ImageError, decode_image, jxl, sniff, thumbnails
from lookalike_serving.images.decode import is_ordinary

needs_heic = pytest.mark.skipif("HEIC" not in sniff.SUPPORTED, reason="pillow-heif is not there")
needs_jxl = pytest.mark.skipif("JXL" not in sniff.SUPPORTED, reason="imagecodecs is not there")


@pytest.mark.parametrize(
    ("data", "remedies"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ("HEIC", "pip install 'pillow-heif", "JPEG")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", ("HEIC", "pip install 'pillow-heif", "JPEG")),
        (b"\xff\x0a....", ("JPEG XL", "pip install 'lookalike[jxl]'", "JPEG")),
        (b"\0\0\0\x0cJXL \r\n\x87\n....", ("JPEG XL", "pip install 'lookalike[jxl]'", "JPEG")),
    ],
)
def test_without_its_library_a_format_is_refused_with_the_remedy(data, remedies, monkeypatch):
    monkeypatch.setattr(sniff, "SUPPORTED", ("JPEG", "PNG"))
    with pytest.raises(ImageError) as refused:
        decode_image(data)
    assert refused.value.code == "unsupported_format"
    assert all(remedy in refused.value.message for remedy in remedies)


@pytest.mark.parametrize("format", [f for f in ("AVIF", "HEIC", "JXL") if f in sniff.SUPPORTED])
def test_what_their_headers_cannot_bound_is_decoded_in_a_process_of_its_own(
    format, encode, picture
):
    data = encode(picture, format)
    assert not is_ordinary(data)
    small = Image.open(io.BytesIO(thumbnails.render(data, 64, 10**8)))
    assert (small.format, small.size) == ("WEBP", (64, 48))


@needs_heic
def test_a_turned_heic_comes_out_upright_once(encode, scene_of):
    # pillow-heif writes the orientation as the format's own rotation, and leaves EXIF beside it.
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode_image(encode(scene_of(320, 240), "HEIC", exif=exif.tobytes()))
    assert (decoded.width, decoded.height) == (240, 320)
    expected = np.rot90(scene_of(320, 240), -1)
    assert np.abs(decoded.pixels.astype(int) - expected).mean() < 4


@needs_heic
def test_of_several_pictures_in_a_heic_the_main_one_is_used(encode, scene_of):
    second = Image.fromarray(scene_of(64, 64))
    data = encode(scene_of(320, 240), "HEIC", save_all=True, append_images=[second])
    decoded = decode_image(data)
    assert (decoded.width, decoded.height) == (320, 240)
    assert "the main one is used" in decoded.warnings[0]


@needs_jxl
@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_jpeg_xl_of_any_depth_gives_the_picture(kind, container, encode, picture):
    most = 1.0 if kind is np.float32 else np.iinfo(kind).max
    values = (picture.astype(np.float64) / 255 * most).astype(kind)
    import imagecodecs

    data = imagecodecs.jpegxl_encode(values, lossless=True, usecontainer=container)
    decoded = decode_image(data)
    assert np.abs(decoded.pixels.astype(int) - picture).max() <= 1


@needs_jxl
def test_transparent_parts_of_a_jpeg_xl_are_white(encode, picture):
    alpha = np.zeros(picture.shape[:2], np.uint8)
    data = encode(np.dstack([picture, alpha]), "JXL", lossless=True)
    assert (decode_image(data).pixels == 255).all()


@needs_jxl
@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (320, 240), (256, 256), (1920, 1080), (640, 320), (7, 5001), (513, 9)]
)
def test_the_size_of_a_jpeg_xl_is_read_from_its_first_bits(size, encode):
    width, height = size
    data = encode(np.zeros((height, width, 3), np.uint8), "JXL", effort=1)
    told = jxl.header(data)
    assert (told.width, told.height, told.animated) == (width, height, False)


def _sized(width: int, height: int) -> bytes:
    """A JPEG XL that says this size and has nothing else."""
    bits, at = 0, 0
    for value, count in ((0, 1), (3, 2), (height - 1, 30), (0, 3), (3, 2), (width - 1, 30), (1, 1)):
        bits |= value << at
        at += count
    return b"\xff\x0a" + bits.to_bytes(12, "little")


@needs_jxl
def test_a_jpeg_xl_bomb_is_refused_by_its_header():
    with pytest.raises(ImageError) as refused:
        decode_image(_sized(2**30, 2**30))
    assert refused.value.code == "too_many_pixels"


@given(st.integers(1, 2**30), st.integers(1, 2**30))
def test_any_size_is_read(width, height):
    assert jxl.header(_sized(width, height)) == jxl.Header(width, height, False)
    boxed = struct.pack(">I4s", 0, b"jxlc") + _sized(width, height)
    data = b"\0\0\0\x0cJXL \r\n\x87\n" + boxed
    assert (jxl.header(data).width, jxl.header(data).height) == (width, height)
