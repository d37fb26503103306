"""A picture that is scaled down while it is decoded gives the model what the whole one gives.

`bench/decode.py` measures the same over more photographs, with the cosines of embeddings.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from lookalike_serving.embed.preprocess import Preprocessing
from lookalike_serving.images import decode_image

TOLERANCE = 1.5
"""Mean difference of the model's input, in grey levels of 255."""
MOST = 24
"""Of all but one value in a thousand."""
MODEL = Preprocessing(224, 224, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
PHOTOGRAPHS = {"astronaut": data.astronaut, "coffee": data.coffee, "rocket": data.rocket}


@pytest.fixture(scope="module")
def photographs() -> dict[str, NDArray[np.uint8]]:
    return {name: made() for name, made in PHOTOGRAPHS.items()}


def differences(encoded: bytes) -> tuple[NDArray[np.int64], bool]:
    """Of the model's input; and whether less was decoded than the whole."""
    whole = decode_image(encoded)
    scaled = decode_image(encoded, min_side=MODEL.min_side)
    assert (whole.width, whole.height) == (scaled.width, scaled.height)
    apart = np.abs(MODEL(whole.pixels, whole.box).astype(int) - MODEL(scaled.pixels, scaled.box))
    return apart, scaled.pixels.size < whole.pixels.size


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("size", [(1350, 1401), (2999, 2001), (1999, 3001)])
@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("JPEG", "RGB", {"subsampling": 0}),
        ("JPEG", "RGB", {"subsampling": 1}),
        ("JPEG", "RGB", {"subsampling": 2}),
        ("JPEG", "RGB", {"subsampling": 2, "progressive": True}),
        ("JPEG", "RGB", {"subsampling": 2, "orientation": 6}),
        ("JPEG", "RGB", {"subsampling": 2, "orientation": 3}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
    ],
    ids=["444", "422", "420", "progressive", "turned", "upside down", "grey", "CMYK"],
)
def test_what_the_model_sees_is_within_the_tolerance(
    photographs: dict[str, NDArray[np.uint8]],
    name: str,
    size: tuple[int, int],
    format: str,
    mode: str,
    options: dict[str, Any],
) -> None:
    image = Image.fromarray(photographs[name]).resize(size, Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = options.get("orientation", 1)
    more = {key: value for key, value in options.items() if key != "orientation"}
    out = io.BytesIO()
    image.save(out, format, quality=88, exif=exif, **more)
    apart, less = differences(out.getvalue())
    assert less == (min(size) >= 2 * MODEL.min_side)
    assert apart.mean() < TOLERANCE
    assert np.quantile(apart, 0.999) <= MOST


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF"])
def test_formats_that_are_decoded_whole_are_within_the_tolerance_too(
    photographs: dict[str, NDArray[np.uint8]], format: str
) -> None:
    image = Image.fromarray(photographs["coffee"]).resize((4200, 2800), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, format, **({"compress_level": 1} if format == "PNG" else {"quality": 60}))
    apart, less = differences(out.getvalue())
    assert less
    assert apart.mean() < TOLERANCE
    assert np.quantile(apart, 0.999) <= MOST
