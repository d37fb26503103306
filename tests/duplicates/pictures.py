"""Small photographs and their edits, for the tests of verdicts."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Pixels = NDArray[np.uint8]
NAMES = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "page.png",
    "rocket.jpg",
)


@cache
def photograph(name: str, side: int = 320) -> Pixels:
    package = find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    image = Image.open(Path(package.origin).parent / "data" / name).convert("RGB")
    image.thumbnail((side, side))
    return np.asarray(image)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 10, height // 8, width * 8 // 10, height * 7 // 8))


def _sticker(image: Image.Image) -> Image.Image:
    image = image.copy()
    side = min(image.size) // 4
    ImageDraw.Draw(image).ellipse((20, 20, 20 + side, 20 + side), (250, 200, 40))
    return image


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": lambda i: jpeg(i, 30),
    "half": lambda i: i.resize((i.width // 2, i.height // 2)),
    "cropped": _cropped,
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.25),
    "grey": lambda i: ImageOps.grayscale(i).convert("RGB"),
    "blurred": lambda i: i.filter(ImageFilter.GaussianBlur(1)),
    "framed": lambda i: ImageOps.expand(i, 30, (20, 20, 20)),
    "mirrored": ImageOps.mirror,
    "turned": lambda i: i.rotate(-10, Image.Resampling.BICUBIC),
    "upside down": lambda i: i.rotate(180),
    "covered": _sticker,
}


def edited(pixels: Pixels, edit: str) -> Pixels:
    return np.asarray(EDITS[edit](Image.fromarray(pixels)))
