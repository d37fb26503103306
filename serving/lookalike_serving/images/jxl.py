"""What a JPEG XL file says of itself before it is decoded (ISO/IEC 18181-1 and -2).

A file is a codestream, or boxes one of which holds it. Its size stands in its first bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_BARE = b"\xff\x0a"
_MAX_BOXES = 1000
_HEAD = 64
"""Bytes of the codestream that hold all that is read here."""
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, of `ratio` 1 to 7."""


@dataclass(frozen=True, slots=True)
class Header:
    width: int
    height: int
    animated: bool


def header(data: bytes) -> Header:
    """Raises ValueError or IndexError for what is no JPEG XL."""
    head = _codestream(data)
    if not head.startswith(_BARE):
        raise ValueError("no JPEG XL codestream")
    bits = _Bits(head[2:])
    width, height = _size(bits)
    animated = False
    if not bits.take(1) and bits.take(1):  # not all by default, and with extra fields
        turned = bits.take(3) + 1 >= 5
        if bits.take(1):
            _size(bits)  # the size it is meant to be shown in
        animated = not bits.take(1) and bool(bits.take(1))  # behind a preview: not looked for
        if turned:
            width, height = height, width
    return Header(width, height, animated)


def exif_box(data: bytes) -> tuple[bytes, bool] | None:
    """(the content of the box that holds the EXIF block, whether it is packed by Brotli)."""
    for kind, start, end in _boxes(data):
        if kind == b"Exif":
            return data[start:end], False
        if kind == b"brob" and data[start : start + 4] == b"Exif":
            return data[start + 4 : end], True
    return None


def exif_of(content: bytes) -> bytes:
    """The block in a box's content: behind the number of bytes that come before it."""
    return content[4 + int.from_bytes(content[:4]) :]


def _codestream(data: bytes) -> bytes:
    if data.startswith(_BARE):
        return data[:_HEAD]
    head = b""
    for kind, start, end in _boxes(data):
        if kind == b"jxlc":
            return data[start : min(end, start + _HEAD)]
        if kind == b"jxlp":  # behind the part's number
            head += data[start + 4 : min(end, start + 4 + _HEAD)]
            if len(head) >= _HEAD:
                break
    return head


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the content of each box of the file."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind, start = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16]), at + 16
        end = len(data) if size == 0 else at + size
        if end < start:
            return
        yield kind, start, min(end, len(data))
        at = end


class _Bits:
    """Numbers from bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Raises ValueError at the end."""
        if count > self._left:
            raise ValueError("the header ends early")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return value


def _size(bits: _Bits) -> tuple[int, int]:
    """(width, height) of a SizeHeader."""
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio:
        over, under = _RATIOS[ratio - 1]
        return height * over // under, height
    return _side(bits, small), height


def _side(bits: _Bits, small: int) -> int:
    if small:
        return 8 * (bits.take(5) + 1)
    return bits.take((9, 13, 18, 30)[bits.take(2)]) + 1
