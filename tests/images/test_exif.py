"""EXIF blocks: what cameras write, and what nobody should."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from lookalike_serving.images import decode_image, sniff
from lookalike_serving.images.exif import read

EXIF, GPS = 0x8769, 0x8825


def block(
    main: dict[int, Any] | None = None,
    camera: dict[int, Any] | None = None,
    place: dict[int, Any] | None = None,
) -> bytes:
    exif = Image.Exif()
    exif.update(main or {})
    exif.get_ifd(EXIF).update(camera or {})
    exif.get_ifd(GPS).update(place or {})
    return exif.tobytes()


def raw(tag: int, type_: int, count: int, value: bytes, ifd: int = EXIF) -> bytes:
    """A block with one entry, whatever that says of itself."""
    entry = struct.pack(">HHI", tag, type_, count)
    entry += value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(">I", 44)
    head = b"MM\0*" + struct.pack(">I", 8)
    first = struct.pack(">HHHII", 1, ifd, 4, 1, 26) + bytes(4)
    return head + first + struct.pack(">H", 1) + entry + bytes(4) + value


PLACE = {1: "S", 2: (33.0, 51.0, 24.0), 3: "E", 4: (151.0, 12.0, 36.0)}
WHOLE = block(
    {0x010F: "ACME ", 0x0110: "Blick 3", 0x0112: 6},
    {
        0x9003: "2024:05:01 12:30:00",
        0x9291: "250",
        0x9011: "+02:00",
        0x8827: 400,
        0x829A: IFDRational(1, 125),
        0x829D: IFDRational(28, 10),
        0x920A: IFDRational(35, 1),
        0xA434: "Blick 35mm f/2.8",
        0x927C: b"\0" * 60_000,
    },
    PLACE,
)
TOLD = {
    "taken_at": "2024-05-01T12:30:00.250+02:00",
    "camera": {"make": "ACME", "model": "Blick 3"},
    "lens": "Blick 35mm f/2.8",
    "iso": 400,
    "exposure_seconds": 0.008,
    "f_number": 2.8,
    "focal_length_mm": 35.0,
    "gps": {"lat": -33.8566667, "lon": 151.21},
    "orientation": 6,
}


def test_what_a_camera_writes_is_read() -> None:
    assert read(WHOLE) == (TOLD, ())


@pytest.mark.parametrize(
    "format", [f for f in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC") if f in sniff.SUPPORTED]
)
def test_it_is_read_from_every_format(format, encode, picture) -> None:
    data = encode(picture, format, exif=WHOLE)
    decoded = decode_image(data)
    values, left_out = read(data if format == "TIFF" else decoded.exif)
    assert left_out == ()
    told = {**TOLD, "orientation": values["orientation"]}  # HEIC and AVIF have their own rotation
    assert values == told
    assert {decoded.width, decoded.height} == {320, 240}


@pytest.mark.skipif("JXL" not in sniff.SUPPORTED, reason="imagecodecs is not there")
@pytest.mark.parametrize("packed", [False, True])
def test_it_is_read_from_a_jpeg_xl(packed, encode, picture) -> None:
    import imagecodecs

    content = bytes(4) + WHOLE.removeprefix(b"Exif\0\0")
    kind = b"Exif"
    if packed:
        content, kind = b"Exif" + bytes(imagecodecs.brotli_encode(content)), b"brob"
    box = struct.pack(">I", 8 + len(content)) + kind + content
    decoded = decode_image(encode(picture, "JXL", usecontainer=True) + box)
    assert read(decoded.exif) == (TOLD, ())
    # The format turns pictures itself: its EXIF orientation is only told.
    assert (decoded.width, decoded.height) == (320, 240)


def test_a_time_without_an_offset_is_utc() -> None:
    assert read(block({}, {0x9003: "2024:05:01 12:30:00"}))[0] == {
        "taken_at": "2024-05-01T12:30:00Z"
    }


def test_what_is_not_known_is_no_warning() -> None:
    unknown = {0x9003: "    :  :     :  :  ", 0x829D: IFDRational(0, 1), 0x8827: 0, 0xA434: ""}
    assert read(block({0x010F: "\0\0"}, unknown)) == ({}, ())
    assert read(b"") == ({}, ())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (block({}, {0x9003: "0000:00:00 00:00:00"}), "taken_at was left out: it is no time"),
        (block({}, {0x9003: "yesterday"}), "taken_at was left out: it is no time (yesterday)"),
        (
            block({}, {0x9003: "2024:05:01 12:30:00", 0x9011: "+99:00"}),
            "taken_at was left out: its offset from UTC",
        ),
        (raw(0x9003, 3, 1, b"\0\1"), "taken_at was left out: it is no text"),
        (raw(0x829A, 5, 1, bytes(8)), "exposure_seconds was left out: it divides by zero"),
        (raw(0x829A, 2, 4, b"1/8\0"), "exposure_seconds was left out: it has the wrong type"),
        (raw(0x8827, 2, 4, b"400\0"), "iso was left out: it is no whole number"),
        (raw(0xA434, 2, 8, b"Caf\xe9 \xff\xfe\0"), "lens was left out: its text is not UTF-8"),
        (raw(0xA434, 2, 8, b"a\x1b[31m\0\0\0"), "lens was left out: its text holds control"),
        (raw(0xA434, 2, 2**32 - 1, b"abcdef"), "lens was left out: it is outside of the block"),
        (raw(0xA434, 2, 300, b"a" * 300), "lens was left out: its text is longer than 200"),
        (block({}, {}, {**PLACE, 2: (91.0, 0.0, 0.0)}), "gps was left out: it is not on Earth"),
        (block({}, {}, {**PLACE, 3: "X"}), "gps was left out: it is not whole"),
        (block({}, {}, {1: "N", 2: (1.0, 2.0, 3.0)}), "gps was left out: it is not whole"),
        (block({0x0112: 77}), "orientation was left out: it is none of 1 to 8"),
        (b"Exif\0\0II*\0", "the EXIF block is damaged"),
        (b"no TIFF at all", "the EXIF block is damaged"),
    ],
)
def test_what_cannot_be_used_costs_that_value_alone(bad, said) -> None:
    values, left_out = read(bad)
    assert values == {}
    assert len(left_out) == 1
    assert said in left_out[0]


def test_a_good_value_stays_beside_a_bad_one() -> None:
    values, left_out = read(block({0x010F: "ACME"}, {0x9003: "0000:00:00 00:00:00"}))
    assert values == {"camera": {"make": "ACME"}}
    assert len(left_out) == 1


def check_sane(values: Any) -> None:
    """JSON, finite, printable: what any engine stores and any page shows."""
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    for each in values.values():
        if isinstance(each, dict):
            check_sane(each)
        elif isinstance(each, str):
            assert each.isprintable()
        else:
            assert math.isfinite(each)


@given(st.binary(max_size=400), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_any_bytes_are_read(rest: bytes, head: bytes) -> None:
    check_sane(read(head + rest)[0])


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=20), st.integers())
def test_a_block_with_bytes_changed_is_read(changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(WHOLE)
    for at, value in changes:
        damaged[at] = value
    check_sane(read(bytes(damaged[: cut % len(damaged)] if cut % 3 == 0 else damaged))[0])


@given(st.binary(max_size=2000))
def test_whatever_stands_in_its_exif_block_a_jpeg_comes_in(content: bytes) -> None:
    segment = b"\xff\xe1" + struct.pack(">H", 8 + len(content)) + b"Exif\0\0" + content
    out = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(out, "JPEG")
    data = out.getvalue()
    decoded = decode_image(data[:2] + segment + data[2:])
    assert decoded.pixels.shape == (8, 8, 3)
    check_sane(read(decoded.exif)[0])
