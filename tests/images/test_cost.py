"""Images that ask for more than they are: known before decoding, ended while decoding."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lookalike_serving.images import ImageError, decode_image, isolated
from lookalike_serving.images.budget import Budget
from lookalike_serving.images.cost import MAX_SCANS, cost_of
from lookalike_serving.images.decode import decode_here, is_ordinary
from lookalike_serving.images.sniff import SUPPORTED


def png(width: int, height: int, depth: int = 8, colours: int = 2, rows: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def webp(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def canvas(width: int, height: int) -> bytes:
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return webp(b"VP8X", bytes([2, 0, 0, 0]) + sides)


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    image = b"\x2c" + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00"
    return head + b"\x21\xfe\x05hello\x00" + image + b"\x3b"


def progressive(side: int, repeated: int) -> bytes:
    """A progressive JPEG whose last scan is there so many times more."""
    y, x = np.mgrid[0:side, 0:side]
    out = io.BytesIO()
    Image.fromarray(((x * y) % 251).astype(np.uint8)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * repeated + b"\xff\xd9"


@pytest.mark.parametrize("format", SUPPORTED)
def test_an_ordinary_images_size_is_read_from_its_header(format, encode, picture):
    cost = cost_of(encode(picture, format), format)
    if format in ("TIFF", "AVIF", "HEIC"):
        assert not cost.ordinary
    elif format == "JXL":
        assert (cost.width, cost.height, cost.ordinary) == (320, 240, False)
    else:
        assert (cost.width, cost.height) == (320, 240)
        assert cost.ordinary


def test_scans_are_counted_and_entropy_coded_bytes_are_none(encode, picture):
    assert cost_of(encode(picture, "JPEG", quality=100), "JPEG").scans == 1
    ordinary = cost_of(encode(picture, "JPEG", progressive=True, quality=100), "JPEG")
    assert 6 <= ordinary.scans <= 16
    assert ordinary.ordinary
    assert cost_of(progressive(64, 40), "JPEG").scans > 40


BOMBS = {
    "a PNG of one column": png(1, 99_999_999),
    "a PNG of one row": png(99_999_999, 1),
    "a WebP of 30 bytes": canvas(16384, 16384),
    "a WebP with one huge frame": webp(b"VP8L", b"\x2f" + struct.pack("<I", 16383 | 16383 << 14)),
    "a GIF whose frame leaves its screen": gif((1, 1), (65535, 65535)),
    "16-bit grey": png(9999, 9999, depth=16, colours=0),
    "a BMP": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 60000, -60000, 1, 24, 0) + bytes(20),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_few_bytes_that_ask_for_gigabytes_are_not_decoded_here(bomb):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError):
        decode_image(bomb, min_side=224)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # KiB


def test_a_jpeg_of_a_thousand_scans_is_refused_before_the_first(encode):
    bomb = progressive(512, 1000)
    before = time.process_time()
    with pytest.raises(ImageError) as refused:
        decode_image(bomb, min_side=64)
    assert refused.value.code == "too_costly"
    assert str(MAX_SCANS) in refused.value.message
    assert time.process_time() - before < 2


def test_a_decode_that_takes_too_long_is_ended_and_the_next_one_works(encode, picture):
    bomb = progressive(2048, 60)
    assert not is_ordinary(bomb)
    isolated.decode(encode(picture, "PNG"), None, 10**8)  # a child is there
    with pytest.raises(ImageError) as ended:
        isolated.decode(bomb, None, 10**8, cpu_seconds=0)
    assert ended.value.code == "too_costly"
    facts, pixels = isolated.decode(encode(picture, "PNG"), None, 10**8)
    assert np.array_equal(pixels, picture)
    assert (facts["width"], facts["format"]) == (320, "PNG")


@pytest.mark.parametrize("format", SUPPORTED)
def test_a_process_of_its_own_decodes_what_this_one_does(format, encode, picture):
    data = encode(picture, format)
    here = decode_here(data, min_side=64, max_pixels=10**8)
    facts, pixels = isolated.decode(data, 64, 10**8)
    assert np.array_equal(pixels, here.pixels)
    assert facts["format"] == here.format


def test_its_refusals_are_those_of_this_process():
    with pytest.raises(ImageError) as refused:
        isolated.decode(b"<html>", None, 10**8)
    assert refused.value.code == "not_an_image"
    with pytest.raises(ImageError) as refused:
        isolated.decode(png(1000, 1000), None, 100)
    assert refused.value.code == "too_many_pixels"


def test_tiles_larger_than_the_picture_are_bounded():
    # A TIFF of 1 x 1 whose one tile says that it is 65,520 x 65,520.
    tags = {256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1, 322: 65520, 323: 65520, 324: 8, 325: 20}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    tile = zlib.compress(bytes(100))[:12].ljust(20, b"\0")
    data = (
        struct.pack("<2sHI", b"II", 42, 28)
        + tile
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError):
        decode_image(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


sides = st.integers(0, 2**32 - 1)
short = st.integers(0, 65535)
HEADERS = st.one_of(
    st.builds(
        png,
        sides,
        sides,
        st.sampled_from([1, 2, 4, 8, 16, 7]),
        st.integers(0, 7),
        st.binary(max_size=64),
    ),
    st.builds(canvas, st.integers(1, 2**24), st.integers(1, 2**24)),
    st.builds(
        webp, st.sampled_from([b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"ALPH"]), st.binary(max_size=40)
    ),
    st.builds(gif, st.tuples(short, short), st.tuples(short, short)),
    st.builds(
        lambda size, w, h, bits, packing: (
            b"BM" + bytes(12) + struct.pack("<IiiHHI", size, w, h, 1, bits, packing) + bytes(24)
        ),
        st.sampled_from([12, 40, 64, 124, 9]),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**31), 2**31 - 1),
        short,
        st.integers(0, 6),
    ),
    st.builds(
        lambda kind, depth, h, w, n, rest: (
            b"\xff\xd8\xff"
            + bytes([kind])
            + struct.pack(">HBHHB", 8 + 3 * n, depth, h, w, n)
            + bytes([1, 0x11, 0]) * n
            + rest
        ),
        st.integers(0xC0, 0xCF),
        st.sampled_from([8, 12]),
        short,
        short,
        st.integers(0, 5),
        st.binary(max_size=80),
    ),
)


@settings(max_examples=300, deadline=None)
@given(HEADERS)
def test_any_header_is_decoded_within_bounds_or_refused(data):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(ImageError):
        decode_image(data, min_side=32, max_pixels=4_000_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        [
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a",
            b"BM",
            b"RIFF\0\0\0\0WEBP",
            b"\xff\x0a",
            b"\x00\x00\x00\x0cJXL \r\n\x87\n",
        ]
    ),
    st.binary(max_size=200),
)
def test_the_cost_of_any_bytes_is_told(magic, rest):
    for format in SUPPORTED:
        assert cost_of(magic + rest, format).bytes >= 0


def test_the_budget_is_never_overdrawn_and_goes_in_turn():
    budget, held, most, lock = Budget(100), [0], [0], threading.Lock()

    def take(size: int) -> None:
        for _ in range(50):
            with budget.room(size):
                with lock:
                    held[0] += min(size, 100)
                    most[0] = max(most[0], held[0])
                with lock:
                    held[0] -= min(size, 100)

    threads = [threading.Thread(target=take, args=(size,)) for size in (10, 40, 70, 100, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert 0 < most[0] <= 100
