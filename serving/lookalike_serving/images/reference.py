"""What people put where an image belongs: a URL, a `data:` URL, or base64."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.fetch import ImageFetcher, shown

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WHITESPACE = re.compile(r"\s+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_LONG = 256 * 1024  # characters whose decoding is worth a thread


async def load_reference(value: str, fetcher: ImageFetcher) -> bytes:
    """The bytes that `value` stands for: fetched, or decoded from a `data:` URL or base64.

    Base64 may be standard or URL-safe, with or without padding, broken into lines or not. The
    fetcher's byte limit holds for all of them. Raises ImageError.
    """
    text = value.strip()
    if not text:
        raise ImageError(
            Code.EMPTY, "the image reference is empty: give an https:// URL, data: URL or base64"
        )
    scheme = _SCHEME.match(text)
    if scheme and text[: scheme.end()].lower() != "data:":
        return (await fetcher.fetch(text)).data
    decode = _data_url if scheme else _plain_base64
    limit = fetcher.policy.max_bytes
    if len(text) > _LONG:
        return await asyncio.to_thread(decode, text, limit)
    return decode(text, limit)


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
    data = unquote_to_bytes(body)
    if head.lower().replace(" ", "").endswith(";base64"):
        return _from_base64(data.decode("latin-1"), limit, "the data: URL's base64")
    return _checked(data, limit)


def _plain_base64(text: str, limit: int) -> bytes:
    # A path or a bare host name is a likelier mistake than broken base64 that looks like one.
    # (Base64 of a JPEG begins with /9j/: a leading slash alone means nothing.)
    if "." in text[:512] or text.startswith("~"):
        raise ImageError(
            Code.BAD_REFERENCE,
            f"{shown(text)!r} is neither a URL nor base64: for an address write https:// before "
            "it; files of your own are uploaded, not named",
        )
    return _from_base64(text, limit, "the image")


def _from_base64(text: str, limit: int, what: str) -> bytes:
    if len(text) // 4 * 3 > 2 * limit:  # with room for line breaks; exactly, further down
        raise _too_large(limit)
    compact = _WHITESPACE.sub("", text).replace("-", "+").replace("_", "/")
    wrong = _BASE64.match(compact)
    assert wrong is not None
    if wrong.end() != len(compact):
        raise ImageError(
            Code.BAD_REFERENCE,
            f"{what} is not base64: character {compact[wrong.end()]!r} at position {wrong.end()}; "
            "give an https:// URL, data: URL or base64",
        )
    stripped = compact.rstrip("=")
    try:
        data = base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True)
    except binascii.Error:
        raise ImageError(
            Code.BAD_REFERENCE,
            f"{what} is not base64: {len(stripped)} characters cannot be a whole number of bytes; "
            "it was probably cut",
        ) from None
    return _checked(data, limit)


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
