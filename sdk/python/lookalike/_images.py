"""Converts whatever a caller passes as an image into what is sent: an address, or bytes and a
type."""

from __future__ import annotations

import base64
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike._arguments import shown

ADDRESS = re.compile(r"(https?|data):", re.IGNORECASE)
_ALONE = " by itself; many images go into batches.create(collection, images)"
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


def image(value: Any, what: str = "image") -> Address | Encoded:
    """An image from any `ImageValue`.

    what: what the caller knows the value as, for errors: `image`, `queries[0].value`.

    Raises FileNotFoundError for a text that is neither an address, a file nor base64; TypeError for
    an object that is no image; OSError if a file cannot be read.
    """
    if isinstance(value, str):
        return _from_text(value, what)
    if isinstance(value, os.PathLike):
        return _from_file(Path(value), what)
    if isinstance(value, bytes | bytearray | memoryview):
        return _checked(Encoded(bytes(value)), f"{what}: the bytes")
    if _is_pil_image(value):
        return _from_pil(value)
    if hasattr(value, "read"):
        return _from_open_file(value, what)
    if (told := pixels(value)) is not None:
        raise TypeError(f"{what}: {told}")
    raise TypeError(
        f"{what}: {shown(value)} is no image: give a URL, a path, encoded bytes, a binary file or "
        f"a PIL image{_ALONE if isinstance(value, list | tuple | dict) else ''}"
    )


def is_image(value: Any) -> bool:
    """Whether a value that is no text can be nothing but an image."""
    return (
        isinstance(value, os.PathLike | bytes | bytearray | memoryview)
        or _is_pil_image(value)
        or hasattr(value, "read")
    )


def pixels(value: Any) -> str | None:
    """What to write in place of an array of pixels; None for anything else.

    It is not taken as it is: OpenCV has blue first, Pillow red, and nothing in the array tells.
    """
    shape = tuple(getattr(value, "shape", ()))
    if len(shape) != 3:
        return None
    return (
        f"an array of pixels, of shape {shape}, is no image file: give PIL.Image.fromarray(array), "
        "with red first (of OpenCV: array[..., ::-1])"
    )


def wire_value(value: Any, what: str = "image") -> str:
    """An image as JSON carries it: an address as it is, anything else as a data URL."""
    found = image(value, what)
    return found.text if isinstance(found, Address) else found.data_url()


def _from_text(text: str, what: str) -> Address | Encoded:
    if ADDRESS.match(text):
        return Address(text)
    path = Path(text).expanduser()
    try:
        exists = path.exists()
    except (OSError, ValueError):  # too long for a path, or holds a null: base64, most likely
        exists = False
    if exists:
        return _from_file(path, what)
    if _BASE64.fullmatch(text):
        return Address(text)
    raise FileNotFoundError(
        f"{what}: {shown(text)} is no file here (in {Path.cwd()}), no http(s) or data URL, and no "
        "base64"
    )


def _from_file(path: Path, what: str) -> Encoded:
    path = path.expanduser()
    if path.is_dir():
        raise IsADirectoryError(
            f"{what}: {path} is a folder: give one of its files, or make a batch of them: "
            f"batches.create(collection, Path({str(path)!r}).glob('*.jpg'))"
        )
    if not path.exists():
        raise FileNotFoundError(f"{what}: {path} is no file here (in {Path.cwd()})")
    return _checked(Encoded(path.read_bytes(), path.name), f"{what}: {path}")


def _from_open_file(file: Any, what: str) -> Encoded:
    content = file.read()
    if not isinstance(content, bytes):
        raise TypeError(f"{what}: the file is open as text: open it with mode 'rb'")
    name = getattr(file, "name", None)
    filename = Path(name).name if isinstance(name, str) else None
    return _checked(Encoded(content, filename), f"{what}: {filename or 'the file'}")


def _checked(encoded: Encoded, what: str) -> Encoded:
    if not encoded.content:
        raise ValueError(f"{what} has 0 bytes, so it is no image")
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
