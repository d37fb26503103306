"""Images that are in the request itself: as a `data:` URL, as base64, or as they are."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import shown

_DIGITS = re.compile(r"[A-Za-z0-9+/]*")
_LONG = 256 * 1024  # characters whose decoding is worth a thread
_SLICE = 256 * 1024
"""Characters that are worked on in one call, which holds Python's lock: about a millisecond."""


class Inline:
    """The bytes that a text stands for, if it holds them.

    Base64 may be standard or URL-safe, with or without padding, broken into lines or not.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    async def read(self, address: str) -> bytes:
        """Raises ImageError: `empty`, `bad_reference`, `too_large`."""
        text = address.strip()
        if not text:
            raise ImageError(
                Code.EMPTY,
                "the image reference is empty: give an https:// URL, data: URL or base64",
            )
        decode = _data_url if text[:5].lower() == "data:" else _plain_base64
        if len(text) > _LONG:
            return await asyncio.to_thread(decode, text, self._max_bytes)
        return decode(text, self._max_bytes)


def checked_size(image: bytes, limit: int) -> bytes:
    """An image that came as it is. Raises ImageError if it has more than `limit` bytes."""
    if len(image) > limit:
        message = f"the image has {len(image):,} bytes, more than {limit:,}: scale it down first"
        raise ImageError(Code.TOO_LARGE, message)
    return image


def _data_url(text: str, limit: int) -> bytes:
    """RFC 2397: `data:[<media type>][;base64],<data>`."""
    head, comma, body = text.partition(",")
    if not comma:
        raise ImageError(
            Code.BAD_REFERENCE,
            f"the data: URL {shown(head)!r} has no comma: write data:image/jpeg;base64,<base64>",
        )
    if len(body) > 4 * limit:
        raise _too_large(limit)
    if head.lower().replace(" ", "").endswith(";base64"):
        text = body if "%" not in body else _unquoted(body).decode("latin-1")
        return _from_base64(text, limit, "the data: URL's base64")
    return _checked(_unquoted(body), limit)


def _unquoted(text: str) -> bytes:
    """With %-escapes resolved, a slice at a time."""
    data, start = bytearray(), 0
    while start < len(text):
        end = start + _SLICE
        if (escape := text.find("%", end - 2, end)) >= 0 and end < len(text):
            end = escape  # it may go on behind the slice
        data += unquote_to_bytes(text[start:end])
        start = end
    return bytes(data)


def _plain_base64(text: str, limit: int) -> bytes:
    # A path or a bare host name is a likelier mistake than broken base64 that looks like one.
    # (Base64 of a JPEG begins with /9j/: a leading slash alone means nothing.)
    if "." in text[:512] or text.startswith("~"):
        raise ImageError(
            Code.BAD_REFERENCE,
            f"{shown(text)!r} is neither a URL nor base64: an address begins with https://; a "
            "file of your own has to be uploaded",
        )
    return _from_base64(text, limit, "the image")


def _from_base64(text: str, limit: int, what: str) -> bytes:
    if len(text) // 4 * 3 > 2 * limit:  # with room for line breaks; exactly, further down
        raise _too_large(limit)
    decoder = _Base64(what)
    for start in range(0, len(text), _SLICE):
        decoder.take(text[start : start + _SLICE])
    return _checked(decoder.end(), limit)


class _Base64:
    """Decodes base64 in slices: a single call would stop every other thread until it ends."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._data = bytearray()
        self._rest = ""
        """Fewer characters than make whole bytes."""
        self._characters = 0
        self._padding = 0

    def take(self, text: str) -> None:
        compact = "".join(text.split()).replace("-", "+").replace("_", "/")
        digits = 0
        if not self._padding:
            found = _DIGITS.match(compact)
            assert found is not None
            digits = found.end()
        padding = len(compact) - digits
        allowed = min(padding - len(compact[digits:].lstrip("=")), 2 - self._padding)
        if allowed < padding:
            wrong = digits + allowed
            raise ImageError(
                Code.BAD_REFERENCE,
                f"{self._what} is not base64: character {compact[wrong]!r} at position "
                f"{self._characters + self._padding + wrong}; give an https:// URL, data: URL or "
                "base64",
            )
        self._padding += padding
        self._characters += digits
        part = self._rest + compact[:digits]
        whole = len(part) // 4 * 4
        self._data += base64.b64decode(part[:whole])
        self._rest = part[whole:]

    def end(self) -> bytes:
        try:
            self._data += base64.b64decode(self._rest + "=" * (-len(self._rest) % 4))
        except binascii.Error:
            raise ImageError(
                Code.BAD_REFERENCE,
                f"{self._what} is not base64: {self._characters} characters cannot be a whole "
                "number of bytes; it was probably cut",
            ) from None
        return bytes(self._data)


def _checked(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise _too_large(limit)
    if not data:
        raise ImageError(Code.EMPTY, "the image has 0 bytes: check how it was read")
    return data


def _too_large(limit: int) -> ImageError:
    return ImageError(
        Code.TOO_LARGE, f"the image has more than {limit:,} bytes: scale it down first"
    )
