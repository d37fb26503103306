"""Pictures with structure – noise would hide what scaling and colour conversion do."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Encode = Callable[..., bytes]


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3): a gradient, a red disc upper left and a blue bar at the bottom."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.stack([x / width * 160 + 40, y / height * 160 + 40, np.full_like(x, 90)], -1)
    disc = (x - width / 4) ** 2 + (y - height / 4) ** 2 < (min(width, height) / 6) ** 2
    picture[disc] = (220, 30, 30)
    picture[int(height * 0.85) :] = (30, 30, 220)
    return picture.astype(np.uint8)


@pytest.fixture(scope="session")
def encode() -> Encode:
    """encode(image, "PNG", **options) -> file bytes; the image may be an array."""

    def encode(image: Image.Image | NDArray[Any], format: str, **options: Any) -> bytes:
        if not isinstance(image, Image.Image):
            image = Image.fromarray(image)
        if format == "JXL":
            imagecodecs = pytest.importorskip("imagecodecs")
            return bytes(imagecodecs.jpegxl_encode(np.asarray(image), **options))
        if format == "HEIC":
            pytest.importorskip("pillow_heif").register_heif_opener()
        out = io.BytesIO()
        image.save(out, "HEIF" if format == "HEIC" else format, **options)
        return out.getvalue()

    return encode


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    return scene(320, 240)


@pytest.fixture(scope="session")
def jpeg(encode: Encode, picture: NDArray[np.uint8]) -> bytes:
    return encode(picture, "JPEG", quality=92)


@pytest.fixture(scope="session")
def png(encode: Encode, picture: NDArray[np.uint8]) -> bytes:
    return encode(picture, "PNG")


@pytest.fixture(scope="session")
def scene_of() -> Callable[[int, int], NDArray[np.uint8]]:
    """scene_of(width, height) -> a picture of that size."""
    return scene
