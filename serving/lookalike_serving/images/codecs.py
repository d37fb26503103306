"""Formats that Pillow needs help with: HEIC by pillow-heif, JPEG XL by imagecodecs.

Both libraries are optional (docs/adr/0011-heic-and-jpeg-xl.md). Here they are only looked for;
they are loaded where a picture is decoded, which is always a process of its own (`isolated`): what
these formats cost cannot be bounded from their headers.
"""

from __future__ import annotations

import functools
import io
from importlib import metadata

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike_serving.images import exif, jxl

HEIC_SINCE = (1, 8)
"""The first pillow-heif with libheif 1.23.4 and libde265 1.1.3: older ones lack corrections."""


@functools.cache
def installed() -> tuple[str, ...]:
    """Which of `HEIC` and `JXL` can be read here."""
    heic = _version_of("pillow-heif") >= HEIC_SINCE
    jxl = _version_of("imagecodecs") > (0,)
    return ("HEIC",) * heic + ("JXL",) * jxl


def _version_of(distribution: str) -> tuple[int, ...]:
    try:
        parts = metadata.version(distribution).split(".")[:2]
    except metadata.PackageNotFoundError:
        return (0,)
    return tuple(int(part) for part in parts if part.isdigit())


def open_heic(data: bytes) -> Image.Image:
    """The main picture of a HEIC or HEIF file: its size is known, nothing is decoded yet."""
    import pillow_heif

    # Thumbnails, depth maps and the like are pictures that a hostile file has more room in.
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
    return Image.open(io.BytesIO(data), formats=("HEIF",))


def decode_jxl(data: bytes) -> Image.Image:
    """The first frame of a JPEG XL file, upright as its own header says, 8 bits."""
    import imagecodecs

    values = imagecodecs.jpegxl_decode(data, index=0, numthreads=1)
    image = _picture(np.asarray(values))
    image.info["exif"] = _jxl_exif(data)
    return image


def _jxl_exif(data: bytes) -> bytes:
    """Nothing if it is damaged."""
    import imagecodecs

    found = jxl.exif_box(data)
    if found is None:
        return b""
    content, packed = found
    if packed:
        try:
            content = bytes(imagecodecs.brotli_decode(content, out=exif.MAX_BYTES))
        except Exception:  # each of its codecs has an error of its own
            return b""
    return jxl.exif_of(content)


def _picture(values: NDArray[np.generic]) -> Image.Image:
    """(h, w) or (h, w, 1 to 4) of any depth, floats within 0 to 1. Raises ValueError."""
    if values.dtype.kind == "f":
        whole = np.nan_to_num(values.astype(np.float32), nan=0, posinf=1, neginf=0)
        eight_bits = (whole.clip(0, 1) * 255).round().astype(np.uint8)
    elif values.dtype == np.uint16:
        eight_bits = (values.astype(np.float32) / np.float32(257)).round().astype(np.uint8)
    elif values.dtype == np.uint8:
        eight_bits = values.astype(np.uint8, copy=False)
    else:
        raise ValueError(f"samples of {values.dtype}")
    if eight_bits.ndim == 3 and eight_bits.shape[2] == 1:
        eight_bits = eight_bits[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(eight_bits))
