"""Makes what the wire takes of whatever a caller holds: an address, or bytes and their type."""

from __future__ import annotations

import base64
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ADDRESS = re.compile(r"(https?|data):", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]{32,}={0,2}\s*")


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image file's bytes."""

    content: bytes
    filename: str | None = None

    @property
    def media_type(self) -> str:
        return _media_type(self.content)

    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True, slots=True)
class Address:
    """Something the server resolves by itself: an http(s) URL, a data URL, base64."""

    text: str


def image(value: Any) -> Address | Encoded:
    """An image from any `ImageValue`.

    Raises FileNotFoundError for a text that is neither an address, a file nor base64; TypeError for
    an object that is no image; OSError where a file cannot be read.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, os.PathLike):
        return _from_file(Path(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return _checked(Encoded(bytes(value)), "the bytes")
    if _is_pil_image(value):
        return _from_pil(value)
    if hasattr(value, "read"):
        return _from_open_file(value)
    raise TypeError(
        f"a {type(value).__name__} is no image: give a URL, a path, encoded bytes, a binary file "
        "or a PIL image"
    )


def wire_value(value: Any) -> str:
    """An image as JSON carries it: an address as it is, anything else as a data URL."""
    found = image(value)
    return found.text if isinstance(found, Address) else found.data_url()


def _from_text(text: str) -> Address | Encoded:
    if _ADDRESS.match(text):
        return Address(text)
    path = Path(text).expanduser()
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # too long for a path, or holds a null: base64, most likely
        is_file = False
    if is_file:
        return _from_file(path)
    if _BASE64.fullmatch(text):
        return Address(text)
    shown = text if len(text) <= 80 else text[:77] + "..."
    raise FileNotFoundError(
        f"{shown!r} is no file here (in {Path.cwd()}), no http(s) or data URL, and no base64"
    )


def _from_file(path: Path) -> Encoded:
    return _checked(Encoded(path.expanduser().read_bytes(), path.name), str(path))


def _from_open_file(file: Any) -> Encoded:
    content = file.read()
    if not isinstance(content, bytes):
        raise TypeError("the file is open as text: open it with mode 'rb'")
    name = getattr(file, "name", None)
    filename = Path(name).name if isinstance(name, str) else None
    return _checked(Encoded(content, filename), filename or "the file")


def _checked(encoded: Encoded, what: str) -> Encoded:
    if not encoded.content:
        raise ValueError(f"{what}: 0 bytes, so no image")
    return encoded


def _is_pil_image(value: Any) -> bool:
    return any(
        kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__
    )


def _from_pil(picture: Any) -> Encoded:
    """PNG: every pixel as it is, upright, since the orientation tag does not travel along."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    if upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        upright = upright.convert("RGB")
    buffer = io.BytesIO()
    upright.save(buffer, "PNG", compress_level=1)
    return Encoded(buffer.getvalue())


def _media_type(content: bytes) -> str:
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if content[:2] == b"BM":
        return "image/bmp"
    if content[:4] in (b"II*\x00", b"MM\x00*"):
        return "image/tiff"
    return "application/octet-stream"
