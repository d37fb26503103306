"""Small versions of images, made once and kept on disk within a bound.

Sizes come in steps, so that a page that asks for 200 px and one that asks for 240 px share a
file. Thumbnails are WebP: about a third smaller than JPEG at these sizes. The cache is a
plain folder; deleting it costs nothing but time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
from pathlib import Path

from PIL import Image

from lookalike_serving.images.decode import decode_image
from lookalike_serving.machine.disk import check_room
from lookalike_serving.machine.files import write_atomically

MEDIA_TYPE = "image/webp"
STEPS = (64, 96, 128, 192, 256, 384, 512)
"""Longest side, pixels."""

_QUALITY = 80
_EFFORT = 2  # of 0-6: twice as quick as the default for 3% more bytes


def step(size: int) -> int:
    """The least step that is not below `size`; the largest for more."""
    return next((s for s in STEPS if s >= size), STEPS[-1])


def render(data: bytes, size: int, max_pixels: int) -> bytes:
    """WebP of the image in `data`, its longest side at most `size`. Raises ImageError."""
    # Scaling while decoding keeps both sides above the least; the longest may then be far
    # larger, which `thumbnail` sees to.
    decoded = decode_image(data, min_side=size, max_pixels=max_pixels)
    image = Image.fromarray(decoded.pixels)
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=3.0)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=_QUALITY, method=_EFFORT)
    return out.getvalue()


class ThumbnailCache:
    """Files under `folder`, at most `max_bytes` of them together; the longest unused go first.

    Every method blocks on the disk and may be called from any thread.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._bytes: int | None = None  # counted at the first write

    def get(self, uri: str, version: str, size: int) -> bytes | None:
        path = self._path(uri, version, size)
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, uri: str, version: str, size: int, data: bytes) -> None:
        """Keep a thumbnail. No room is no error: the next request makes it again."""
        with contextlib.suppress(OSError):
            check_room(self._folder, len(data))
            path = self._path(uri, version, size)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, mode=0o600, durable=False)
            with self._lock:
                if self._bytes is None:
                    self._bytes = sum(bytes_ for _, bytes_, _ in self._files())
                else:
                    self._bytes += len(data)
                if self._bytes > self._max_bytes:
                    self._prune()

    def forget(self, uri: str) -> None:
        """Drop all sizes and versions of an image."""
        for path in self._home(uri).glob("*"):
            with contextlib.suppress(OSError):
                bytes_ = path.stat().st_size
                path.unlink()
                with self._lock:
                    if self._bytes is not None:
                        self._bytes -= bytes_
        with contextlib.suppress(OSError):
            self._home(uri).rmdir()

    def _home(self, uri: str) -> Path:
        name = hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / name[:2] / name[:40]

    def _path(self, uri: str, version: str, size: int) -> Path:
        tag = hashlib.sha256(version.encode()).hexdigest()[:12]
        return self._home(uri) / f"{size}-{tag}.webp"

    def _files(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of every thumbnail."""
        found = []
        for path in self._folder.glob("*/*/*.webp"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _prune(self) -> None:
        """Down to nine tenths, so that not every write prunes."""
        files = sorted(self._files())
        total = sum(bytes_ for _, bytes_, _ in files)
        for _, bytes_, path in files:
            if total <= self._max_bytes * 9 // 10:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= bytes_
                path.parent.rmdir()  # fails, rightly, while other sizes are in it
        self._bytes = total
