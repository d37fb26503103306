"""Pictures that tests draw."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def drawn(colour: str, *, shape: str = "ellipse", side: int = 96) -> Image.Image:
    """One shape of one colour on white."""
    image = Image.new("RGB", (side, side), "white")
    getattr(ImageDraw.Draw(image), shape)((16, 16, side - 16, side - 16), fill=colour)
    return image


def plain(colour: str = "black", size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Nothing but one colour."""
    return Image.new("RGB", size, colour)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """The image as a file of a format."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def animation() -> bytes:
    """A GIF of two frames: red, then green."""
    frames = [plain(colour, (40, 30)) for colour in ("red", "lime")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def paint(path: Path, seed: int, size: tuple[int, int] = (96, 80)) -> Path:
    """Writes a picture that no other seed gives."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path
