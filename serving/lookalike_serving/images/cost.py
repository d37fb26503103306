"""What decoding an image will cost, from its headers alone: nothing is decoded, no library asked.

A few bytes can ask for gigabytes or for hours, and the libraries believe them: some allocate the
whole canvas when a file is merely opened. So the size, the number of scans and the depth are read
here first, in bounded time, and tell whether an image is ordinary – decoded at once, in this
process – or unusual: decoded by a process of its own that can be ended (see `isolated`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lookalike_serving.images import jxl

ORDINARY_BYTES = 256 * 1024**2
"""Memory that decoding an ordinary image takes at most, as estimated."""
ORDINARY_WORK = 400_000_000
"""Pixels times scans of an ordinary JPEG: about two seconds of one core."""
ORDINARY_SCANS = 32
"""Encoders write 10 to 20 scans at most."""
MAX_SCANS = 100
_MAX_PARTS = 20_000
"""Chunks or segments; Python walks over them one by one here, and in Pillow again."""

_ROW_POINTERS = 8 * 4
"""Bytes of each row and copy, for images of one column and a hundred million rows."""


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate, rather too high than too low."""

    width: int
    height: int
    bytes: int
    work: int = 0
    """Pixels times passes over them."""
    scans: int = 1
    unusual: bool = False
    """Whatever the figures say, this is to be decoded by a process of its own."""

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def ordinary(self) -> bool:
        return not (
            self.unusual
            or self.bytes > ORDINARY_BYTES
            or self.work > ORDINARY_WORK
            or self.scans > ORDINARY_SCANS
        )


_UNKNOWN = Cost(0, 0, 0, unusual=True)
"""Of a file whose headers do not tell, or tell in ways that are not read here."""


def cost_of(data: bytes, format: str, min_side: int | None = None) -> Cost:
    """The cost of decoding `data`, never below `min_side`. Never raises."""
    reader = _READERS.get(format)
    if reader is None:
        return _UNKNOWN  # TIFF and HEIC have tiles, AVIF frames: sizes that no header need tell
    try:
        return reader(data, min_side or 0)
    except (IndexError, ValueError):
        return _UNKNOWN


def _simple(width: int, height: int, bytes_per_pixel: int, *, unusual: bool = False) -> Cost:
    pixels = width * height
    bytes_ = pixels * bytes_per_pixel + height * _ROW_POINTERS
    return Cost(width, height, bytes_, pixels, unusual=unusual)


# --- JPEG (ITU-T T.81, annex B) --------------------------------------------------------------

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.S)
_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.S)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


def _jpeg(data: bytes, min_side: int) -> Cost:
    width = height = components = depth = scans = 0
    at, find = 2, _MARKER
    for _ in range(_MAX_PARTS):
        found = find.search(data, at)
        if found is None or found[1] == b"\xd9":
            break
        marker, at, find = found[1][0], found.end(), _MARKER
        if marker in _BARE:
            continue
        if marker in _FRAMES and not width:
            depth, components = data[at + 2], data[at + 7]
            height = int.from_bytes(data[at + 3 : at + 5], "big")
            width = int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == 0xDA:
            scans, find = scans + 1, _AFTER_SCAN
            if scans > MAX_SCANS:
                break
        at += int.from_bytes(data[at : at + 2], "big")
    else:
        return _UNKNOWN
    if not width or not height:
        return _UNKNOWN
    pixels = width * height
    factor = min(8, max(1, min(width, height) // max(1, min_side))) if min_side else 1
    shrunk = pixels // (1 << (factor.bit_length() - 1)) ** 2
    # Several scans keep every coefficient (2 bytes) until the last one has come.
    bytes_ = shrunk * (3 if components < 4 else 16) + (pixels * components * 2 if scans > 1 else 0)
    return Cost(width, height, bytes_, pixels * max(1, scans), scans, unusual=depth != 8)


# --- PNG (ISO 15948) -------------------------------------------------------------------------

_PNG_BYTES = {0: 8, 2: 16, 3: 17, 4: 17, 6: 16}


def _png(data: bytes, _: int) -> Cost:
    if data[12:16] != b"IHDR":
        return _UNKNOWN
    width = int.from_bytes(data[16:20], "big")
    height = int.from_bytes(data[20:24], "big")
    depth, colours = data[24], data[25]
    each = 32 if depth == 16 and colours == 0 else _PNG_BYTES.get(colours, 17)
    at = 8
    for _ in range(_MAX_PARTS):
        if at + 8 > len(data) or data[at + 4 : at + 8] == b"IEND":
            return _simple(width, height, each)
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return _simple(width, height, each, unusual=True)


# --- GIF (GIF89a) ----------------------------------------------------------------------------


def _gif(data: bytes, _: int) -> Cost:
    """The screen, or the first frame if that reaches beyond it."""
    width = int.from_bytes(data[6:8], "little")
    height = int.from_bytes(data[8:10], "little")
    at = 13 + _palette(data[10])
    for _ in range(_MAX_PARTS):
        match data[at]:
            case 0x2C:
                left, top, wide, high = (
                    int.from_bytes(data[at + n : at + n + 2], "little") for n in (1, 3, 5, 7)
                )
                return _simple(max(width, left + wide), max(height, top + high), 17)
            case 0x21:
                at += 2
                for _ in range(_MAX_PARTS):
                    size = data[at]
                    at += 1 + size
                    if not size:
                        break
                else:
                    return _UNKNOWN
            case 0x3B:
                return _simple(width, height, 17)
            case _:
                at += 1
    return _UNKNOWN


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


# --- WebP (RFC 9649) -------------------------------------------------------------------------

_WEBP_BYTES = 28
"""Two canvases of the animation decoder, a copy, and what transparency takes."""


def _webp(data: bytes, _: int) -> Cost:
    """The largest of all sizes that the file tells: of the canvas and of every frame."""
    width = height = 0
    at = 12
    for _ in range(_MAX_PARTS):
        if at + 8 > len(data):
            break
        kind, size, body = (
            data[at : at + 4],
            int.from_bytes(data[at + 4 : at + 8], "little"),
            at + 8,
        )
        if kind == b"VP8X":
            wide, high = _three(data, body + 4) + 1, _three(data, body + 7) + 1
        elif kind == b"ANMF":
            wide, high = _three(data, body + 6) + 1, _three(data, body + 9) + 1
        elif kind == b"VP8L":
            bits = int.from_bytes(data[body + 1 : body + 5], "little")
            wide, high = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif kind == b"VP8 ":
            wide = int.from_bytes(data[body + 6 : body + 8], "little") & 0x3FFF
            high = int.from_bytes(data[body + 8 : body + 10], "little") & 0x3FFF
        else:
            wide = high = 0
        width, height = max(width, wide), max(height, high)
        at = body + size + (size & 1)
    else:
        return _UNKNOWN
    return _simple(width, height, _WEBP_BYTES) if width and height else _UNKNOWN


def _three(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


# --- BMP -------------------------------------------------------------------------------------


def _bmp(data: bytes, _: int) -> Cost:
    if int.from_bytes(data[14:18], "little") == 12:
        width = int.from_bytes(data[18:20], "little")
        height = int.from_bytes(data[20:22], "little")
    else:
        width = abs(int.from_bytes(data[18:22], "little", signed=True))
        height = abs(int.from_bytes(data[22:26], "little", signed=True))
    return _simple(width, height, 16) if width and height else _UNKNOWN


# --- JPEG XL ---------------------------------------------------------------------------------


def _jxl(data: bytes, _: int) -> Cost:
    """Never ordinary: how much memory its transforms take, the header does not tell."""
    told = jxl.header(data)
    return _simple(told.width, told.height, 16, unusual=True)


_READERS = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WEBP": _webp, "BMP": _bmp, "JXL": _jxl}
