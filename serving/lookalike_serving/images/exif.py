"""What a camera wrote into a picture: an EXIF block as metadata (CIPA DC-008, on TIFF 6.0).

    block of bytes -> the few tags that are worth searching for -> values, and what was left out

A block is whatever somebody sent. It is read here by plain Python, within bounds: what is broken,
of the wrong type, out of range or not text costs that one value, never the picture. What is left
out is said in words that are the same for every picture; what is its own stands in brackets.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_BYTES = 256 * 1024
"""Of a block: those of cameras have 64 KiB at most, for JPEG gives them no more."""
_MAX_ENTRIES = 1024
_MAX_TEXT = 200
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 8: 2, 9: 4, 10: 8, 129: 1}
_ASCII, _SHORT, _LONG, _RATIONAL, _UTF8 = 2, 3, 4, 5, 129
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_IFDS = (_EXIF_IFD, _GPS_IFD)

Values = dict[str, Any]


class _Bad(Exception):
    """The value cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class _Entry:
    type: int
    count: int
    at: int
    """Where the value begins in the block."""


def read(block: bytes) -> tuple[Values, tuple[str, ...]]:
    """(nested values, what was left out) of a TIFF file or an EXIF block. Never raises.

    The keys, as far as the block has them: `taken_at` (RFC 3339; UTC where the camera wrote no
    offset), `camera` {`make`, `model`}, `lens`, `iso`, `exposure_seconds`, `f_number`,
    `focal_length_mm`, `gps` {`lat`, `lon`} (degrees), `orientation` (1 to 8).
    """
    block = block.removeprefix(b"Exif\0\0")
    if not block:
        return {}, ()
    try:
        tags = _Tags(block)
    except _Bad as bad:
        return {}, (f"the EXIF block is damaged and was ignored ({bad})",)
    values: Values = {}
    left_out: list[str] = []
    for path, get in _WANTED.items():
        try:
            value = get(tags)
        except _Bad as bad:
            left_out.append(f"EXIF {path} was left out: {bad}")
            continue
        if value is not None:
            *folder, name = path.split(".")
            inside = values
            for each in folder:
                inside = inside.setdefault(each, {})
            inside[name] = value
    return values, tuple(left_out)


class _Tags:
    """The entries of a block's first directory, and of its EXIF and GPS directories."""

    def __init__(self, block: bytes) -> None:
        """Raises _Bad."""
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
        if order is None:
            raise _Bad("it does not begin as TIFF does")
        self._block = block
        self._order = order
        main = self._directory(self._unpack("I", 4)[0])
        self._entries = {0: main}
        for ifd in _IFDS:
            pointer = main.get(ifd)
            if pointer is not None and (pointer.type, pointer.count) == (_LONG, 1):
                self._entries[ifd] = self._directory(self._unpack("I", pointer.at)[0])

    def _directory(self, at: int) -> dict[int, _Entry]:
        """By tag, the first of each. One that is cut, or lies outside, has what it has."""
        found: dict[int, _Entry] = {}
        if at + 2 > len(self._block):
            return found
        (count,) = self._unpack("H", at)
        for start in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            if start + 12 > len(self._block):
                break
            tag, type_, number = self._unpack("HHI", start)
            size = _SIZES.get(type_, 1) * number
            where = start + 8 if size <= 4 else self._unpack("I", start + 8)[0]
            found.setdefault(tag, _Entry(type_, number, where))
        return found

    def _unpack(self, layout: str, at: int) -> tuple[Any, ...]:
        """Raises _Bad if it reaches beyond the block."""
        try:
            return struct.unpack_from(self._order + layout, self._block, at)
        except struct.error:
            raise _Bad("it is outside of the block") from None

    def text(self, tag: int, ifd: int = 0) -> str | None:
        """Up to the first NUL, without space around it; None if that is nothing."""
        entry = self._entries.get(ifd, {}).get(tag)
        if entry is None:
            return None
        if entry.type not in (_ASCII, _UTF8):
            raise _Bad("it is no text")
        if entry.at + entry.count > len(self._block):
            raise _Bad("it is outside of the block")
        raw = self._block[entry.at : entry.at + min(entry.count, 4 * _MAX_TEXT)]
        try:
            text = raw.partition(b"\0")[0].decode().strip()
        except UnicodeDecodeError:
            raise _Bad("its text is not UTF-8") from None
        if len(text) > _MAX_TEXT:
            raise _Bad(f"its text is longer than {_MAX_TEXT} characters")
        if not text.isprintable():
            raise _Bad("its text holds control characters")
        return text or None

    def whole(self, tag: int, ifd: int = 0) -> int | None:
        """The first of its numbers."""
        entry = self._entries.get(ifd, {}).get(tag)
        if entry is None:
            return None
        if entry.type not in (_SHORT, _LONG) or not entry.count:
            raise _Bad("it is no whole number")
        return int(self._unpack("H" if entry.type == _SHORT else "I", entry.at)[0])

    def fractions(self, tag: int, count: int, ifd: int) -> list[float] | None:
        """`count` numbers, each finite."""
        entry = self._entries.get(ifd, {}).get(tag)
        if entry is None:
            return None
        if entry.type != _RATIONAL or entry.count != count:
            raise _Bad("it has the wrong type")
        parts = self._unpack(f"{2 * count}I", entry.at)
        if not all(parts[1::2]):
            raise _Bad("it divides by zero")
        return [over / under for over, under in zip(parts[::2], parts[1::2], strict=True)]


def _taken_at(tags: _Tags) -> str | None:
    """When the picture was taken; when it was made digital, where only that is said."""
    for tag, part, offset in ((0x9003, 0x9291, 0x9011), (0x9004, 0x9292, 0x9012)):
        text = tags.text(tag, _EXIF_IFD)
        if text is None or not text.strip(": "):  # spaces stand for what is not known
            continue
        try:
            moment = datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
        except ValueError:
            raise _Bad(f"it is no time ({text})") from None
        return f"{moment.isoformat()}{_fraction(tags, part)}{_zone(tags, offset)}"
    return None


def _fraction(tags: _Tags, tag: int) -> str:
    try:
        digits = tags.text(tag, _EXIF_IFD) or ""
    except _Bad:  # the second is known without it
        return ""
    return f".{digits[:6]}" if digits.isascii() and digits.isdigit() else ""


def _zone(tags: _Tags, tag: int) -> str:
    """`+02:00`, or `Z` where the camera did not say."""
    text = tags.text(tag, _EXIF_IFD)
    if text is None or not text.strip(": "):
        return "Z"
    try:
        offset = datetime.strptime(text, "%z").utcoffset()
    except ValueError:
        offset = None
    if offset is None or len(text) != 6:
        raise _Bad(f"its offset from UTC is none ({text})")
    return text


def _gps(tags: _Tags) -> dict[str, float] | None:
    sides: list[float | None] = []
    for reference, tag, letters, most in ((1, 2, "NS", 90.0), (3, 4, "EW", 180.0)):
        parts = tags.fractions(tag, 3, _GPS_IFD)
        letter = tags.text(reference, _GPS_IFD)
        if parts is None and letter is None:
            sides.append(None)
            continue
        if parts is None or letter is None or letter not in letters:
            raise _Bad("it is not whole")
        degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
        if degrees > most:
            raise _Bad(f"it is not on Earth ({degrees:g} degrees {letter})")
        sides.append(round(-degrees if letter == letters[1] else degrees, 7))
    lat, lon = sides
    if lat is None and lon is None:
        return None
    if lat is None or lon is None:
        raise _Bad("it is not whole")
    return {"lat": lat, "lon": lon}


def _iso(tags: _Tags) -> int | None:
    """From 65,535 on a camera writes it elsewhere; 0 is not known."""
    value = tags.whole(0x8827, _EXIF_IFD)
    if value == 0xFFFF:
        value = tags.whole(0x8833, _EXIF_IFD) or tags.whole(0x8832, _EXIF_IFD) or value
    return value or None


def _positive(tag: int) -> Callable[[_Tags], float | None]:
    """A number above 0: 0 is what lenses write that do not know."""

    def get(tags: _Tags) -> float | None:
        found = tags.fractions(tag, 1, _EXIF_IFD)
        if not found or not found[0]:
            return None
        return float(f"{found[0]:.6g}") if math.isfinite(found[0]) else None

    return get


def _orientation(tags: _Tags) -> int | None:
    value = tags.whole(0x0112)
    if value is not None and not 1 <= value <= 8:
        raise _Bad(f"it is none of 1 to 8 ({value})")
    return value


_WANTED: dict[str, Callable[[_Tags], Any]] = {
    "taken_at": _taken_at,
    "camera.make": lambda tags: tags.text(0x010F),
    "camera.model": lambda tags: tags.text(0x0110),
    "lens": lambda tags: tags.text(0xA434, _EXIF_IFD),
    "iso": _iso,
    "exposure_seconds": _positive(0x829A),
    "f_number": _positive(0x829D),
    "focal_length_mm": _positive(0x920A),
    "gps": _gps,
    "orientation": _orientation,
}
