"""Image bytes -> pixels, with a defined result for whatever people call an image.

    bytes -> sniff the format -> estimate the cost -> decode, here or isolated -> RGB uint8

The format comes from the content, never from a name. JPEG, nine images in ten, goes through
libjpeg-turbo, which can decode at 1/2, 1/4 or 1/8 of the size for a fraction of the work
(DCT scaling; it can do other eighths, which are slower and further from the picture). Everything
else goes through Pillow, some with help (`codecs`). What comes out is
always upright (EXIF orientation applied), always RGB, always 8 bits: transparency lies on white,
CMYK and grey are converted, 16 bits are scaled, of an animation the first frame is taken. ICC
profiles are ignored: models were trained on pixels read without them.

What decoding will cost is known before a library sees the file (`cost`). Ordinary images share a
budget of memory; unusual ones are decoded by a process that can be ended (`isolated`).

Every function here may be called from many threads; both libraries release the interpreter
while they work. Fetching is not done here (see `fetch`), nor is resizing for a model (see
`lookalike_serving.embed`).
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from lookalike_serving.images import codecs, isolated, jxl
from lookalike_serving.images.budget import Budget
from lookalike_serving.images.cost import MAX_SCANS, ORDINARY_BYTES, Cost, cost_of
from lookalike_serving.images.errors import Code, ImageError
from lookalike_serving.images.exif import MAX_BYTES
from lookalike_serving.images.sniff import NAMES, SUPPORTED, sniff

# Pillow's own guard is a process-wide constant and warns where we must decide. We compare the
# header's size with `max_pixels` below, before a pixel is decoded, for every format.
Image.MAX_IMAGE_PIXELS = None

DEFAULT_MAX_PIXELS = 100_000_000
_BUDGET = Budget(2 * ORDINARY_BYTES)

_SUPPORTED_NAMES = ", ".join(NAMES.get(f, f) for f in SUPPORTED)
_RAW = "camera raw files are not supported: export JPEGs"
_REMEDIES = {
    "HEIC": "install pillow-heif where Lookalike runs (pip install 'pillow-heif>=1.8'), or convert "
    "it to JPEG",
    "JPEG XL": "install imagecodecs where Lookalike runs (pip install 'lookalike[jxl]'), or "
    "convert it to JPEG",
    "Canon raw (CR2)": _RAW,
}
"""What to do about a format that is not read here, where converting is not all."""


_Extent = tuple[float, float]
"""Width and height, in pixels and parts of them."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels and parts of them."""


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """One upright image.

    `pixels` is (h, w, 3) uint8 RGB, C-contiguous, perhaps read-only, and may be smaller than the
    original by a whole factor (see `decode_image`); `width` and `height` are the original's,
    after rotation.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str
    """One of `sniff.SUPPORTED`."""
    warnings: tuple[str, ...] = ()
    """What was lost on the way, in words: further frames, unreadable EXIF. What is this image's own
    stands in brackets at the end."""
    exif: bytes = b""
    """The block as it is in the file, for `exif.read`; of a TIFF, the file itself is it."""
    box: Box | None = None
    """What of `pixels` the picture takes, if it was scaled down: its size is seldom a multiple of
    the factor, so that the pixels of an edge are only partly of it. None: all."""


def decode_image(
    data: bytes, *, min_side: int | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> DecodedImage:
    """Decode `data`, whatever format it is in.

    With `min_side` the image may come out scaled down, neither side below `min_side` pixels
    (unless the original is smaller). Scaling here is coarser than a resampling filter: for a
    result like that of the whole image, ask for more than what is needed in the end
    (`lookalike_serving.embed.preprocess`). `max_pixels` bounds width x
    height as the header states it.

    Waits while other images take all the memory that decoding may take. Raises ImageError: `empty`,
    `not_an_image`, `unsupported_format`, `too_many_pixels`, `too_costly`, `truncated`, `corrupt`.
    """
    format_ = _format(data)
    cost = cost_of(data, format_, min_side)
    _check(cost, max_pixels)
    if cost.ordinary:
        with _BUDGET.room(cost.bytes):
            return _decode(data, format_, min_side, max_pixels)
    facts, pixels = isolated.decode(data, min_side, max_pixels)
    facts["warnings"] = tuple(facts["warnings"])
    facts["exif"] = base64.b64decode(facts["exif"])
    facts["box"] = facts["box"] and tuple(facts["box"])
    return DecodedImage(pixels, **facts)


def general(warning: str) -> str:
    """A warning without what is one image's own: the same for all images that it is about."""
    return warning.partition(" (")[0]


def is_ordinary(data: bytes, min_side: int | None = None) -> bool:
    """Whether decoding is quick: done here, or refused at once. Never raises."""
    kind = sniff(data).format if data else None
    return kind is None or cost_of(data, kind, min_side).ordinary


def decode_here(data: bytes, *, min_side: int | None, max_pixels: int) -> DecodedImage:
    """As `decode_image`, whatever it costs: for a process that may be ended. Raises ImageError."""
    format_ = _format(data)
    _check(cost_of(data, format_, min_side), max_pixels)
    return _decode(data, format_, min_side, max_pixels)


def _format(data: bytes) -> str:
    """The format of an image that can be read. Raises ImageError."""
    if not data:
        raise ImageError(
            Code.EMPTY, "the image has 0 bytes: check that the file was uploaded whole"
        )
    kind = sniff(data)
    if kind.format is None:
        raise _refusal(kind.found, is_image=kind.is_image)
    return kind.format


def _check(cost: Cost, max_pixels: int) -> None:
    """Raises ImageError for what is not even tried."""
    _check_size(cost.width, cost.height, max_pixels)
    if cost.scans > MAX_SCANS:
        raise ImageError(
            Code.TOO_COSTLY,
            f"the JPEG image has more than {MAX_SCANS} scans: export it again from its source",
        )


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageError(
            Code.TOO_MANY_PIXELS,
            f"the image has {width} x {height} = {width * height:,} pixels, more than the limit of "
            f"{max_pixels:,}: scale it down first",
        )


def _decode(data: bytes, format_: str, min_side: int | None, max_pixels: int) -> DecodedImage:
    if format_ == "JXL":
        return _decode_jxl(data, min_side)
    image = _open(data, format_)
    _check_size(*image.size, max_pixels)
    warnings: list[str] = []
    if format_ == "JPEG":
        return _decode_jpeg(data, image, min_side, warnings)
    return _decode_with_pillow(data, image, format_, min_side, warnings)


def _refusal(found: str, *, is_image: bool) -> ImageError:
    if is_image:
        remedy = _REMEDIES.get(found, f"convert it to {_SUPPORTED_NAMES}")
        return ImageError(
            Code.UNSUPPORTED_FORMAT, f"the image is {found}, which is not supported here: {remedy}"
        )
    hint = (
        "the address probably leads to a web page, use the address of the image itself"
        if found == "an HTML page"
        else f"send one of {_SUPPORTED_NAMES}"
    )
    return ImageError(Code.NOT_AN_IMAGE, f"expected an image, found {found}: {hint}")


def _open(data: bytes, format_: str) -> Image.Image:
    """The image's header, nothing decoded."""
    try:
        if format_ == "HEIC":
            return codecs.open_heic(data)
        return Image.open(io.BytesIO(data), formats=(format_,))
    except Exception as error:  # Pillow's plugins raise whatever their parser trips over
        raise _broken(data, format_, error) from None


def _broken(data: bytes, format_: str, error: BaseException) -> ImageError:
    if isinstance(error, MemoryError):
        return ImageError(
            Code.TOO_MANY_PIXELS,
            f"there is not enough memory to decode this {format_}: scale it down first",
        )
    name = NAMES.get(format_, format_)
    if _ends_early(data, format_) or "truncated" in str(error):
        return ImageError(
            Code.TRUNCATED,
            f"the {name} image ends early, after {len(data):,} bytes: fetch or upload it again",
        )
    # TIFF is a family of formats, of which a whole file may be one that nobody here can read.
    or_else = ", or is of a kind of TIFF that is not supported," if format_ == "TIFF" else ""
    return ImageError(
        Code.CORRUPT,
        f"the {name} image is damaged{or_else} and cannot be decoded: export it again from its "
        "source",
    )


def _ends_early(data: bytes, format_: str) -> bool:
    """Whether a file that cannot be read lacks its end; asked only after decoding failed."""
    match format_:
        case "JPEG":
            return b"\xff\xd9" not in data[-64:]
        case "PNG":
            return b"IEND" not in data[-64:]
        case "GIF":
            return b"\x3b" not in data[-64:]
        case "WEBP":
            return len(data) < 12 or int.from_bytes(data[4:8], "little") + 8 > len(data)
        case "BMP":
            return len(data) < 26 or int.from_bytes(data[2:6], "little") > len(data)
        case "TIFF":
            big_endian = data[:2] == b"MM"
            offset = int.from_bytes(data[4:8], "big" if big_endian else "little")
            return len(data) < 8 or offset >= len(data)
        case _:
            return len(data) < 512


def _exif(image: Image.Image) -> bytes:
    """The EXIF block that the file holds, or as much of it as cameras write."""
    block = image.info.get("exif")
    return block[:MAX_BYTES] if isinstance(block, bytes) else b""


def _orientation(image: Image.Image, warnings: list[str]) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block must not cost the picture
        warnings.append("the EXIF block is damaged: its orientation was ignored")
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_jpeg(
    data: bytes, image: Image.Image, min_side: int | None, warnings: list[str]
) -> DecodedImage:
    orientation = _orientation(image, warnings)
    width, height = image.size
    eighths = _eighths(min(width, height), min_side)
    extent = (width * eighths / 8, height * eighths / 8)
    pixels: NDArray[np.uint8] | None = None
    if image.mode in ("RGB", "L"):
        try:
            pixels = simplejpeg.decode_jpeg(
                data,
                min_height=-(-height * eighths // 8),
                min_width=-(-width * eighths // 8),
                strict=True,
            )
        except ValueError:
            # Strict decoding also stops at harmless oddities; Pillow tells them from real
            # damage, and its answer is the one we report.
            pixels = None
    if pixels is None:
        pixels, extent = _pillow_pixels(data, image, "JPEG", min_side, warnings)
    box = _box(extent, pixels, orientation)
    pixels = _upright(pixels, orientation)
    if orientation >= 5:
        width, height = height, width
    return DecodedImage(pixels, width, height, "JPEG", tuple(warnings), _exif(image), box)


def _eighths(side: int, least: int | None) -> int:
    """To how many eighths of its size a JPEG is decoded: 8, 4, 2 or 1."""
    eighths = 8
    while least and eighths > 1 and side * eighths // 2 >= least * 8:
        eighths //= 2
    return eighths


def _box(extent: _Extent, pixels: NDArray[np.uint8], orientation: int = 1) -> Box | None:
    """`DecodedImage.box` once the pixels are upright."""
    height, width = pixels.shape[:2]
    wide, high = extent
    if (wide, high) == (width, height):
        return None
    if orientation >= 5:
        width, height, wide, high = height, width, high, wide
    left = width - wide if orientation in (2, 3, 6, 7) else 0.0
    top = height - high if orientation in (3, 4, 7, 8) else 0.0
    return left, top, left + wide, top + high


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (1-8), the way `ImageOps.exif_transpose` does."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _decode_jxl(data: bytes, min_side: int | None) -> DecodedImage:
    """Its size has been checked (`cost`), unless its header cannot be read: then nothing can."""
    try:
        animated = jxl.header(data).animated
        image = codecs.decode_jxl(data)
    except Exception as error:
        raise _broken(data, "JXL", error) from None
    warnings = [_FIRST_FRAME] if animated else []
    pixels, extent = _pillow_pixels(data, image, "JXL", min_side, warnings)
    exif, box = _exif(image), _box(extent, pixels)
    return DecodedImage(pixels, *image.size, "JXL", tuple(warnings), exif, box)


_FIRST_FRAME = "animated: the first frame is used"
_FURTHER = {
    "TIFF": "several pages: the first is used",
    "HEIC": "several pictures in one file: the main one is used",
}


def _decode_with_pillow(
    data: bytes, image: Image.Image, format_: str, min_side: int | None, warnings: list[str]
) -> DecodedImage:
    try:
        if getattr(image, "is_animated", False):
            warnings.append(_FURTHER.get(format_, _FIRST_FRAME))
        image.load()
    except Exception as error:
        raise _broken(data, format_, error) from None
    exif = _exif(image)
    if _orientation(image, warnings) != 1:
        image = ImageOps.exif_transpose(image)
    width, height = image.size
    pixels, extent = _pillow_pixels(data, image, format_, min_side, warnings)
    box = _box(extent, pixels)
    return DecodedImage(pixels, width, height, format_, tuple(warnings), exif, box)


def _pillow_pixels(
    data: bytes, image: Image.Image, format_: str, min_side: int | None, warnings: list[str]
) -> tuple[NDArray[np.uint8], _Extent]:
    """(h, w, 3) uint8, scaled down by a whole factor where `min_side` allows, and what of it the
    picture takes."""
    try:
        extent: _Extent = (float(image.width), float(image.height))
        if min_side and format_ == "JPEG":
            drafted = image.draft(None, (min_side, min_side))
            if drafted is not None:
                extent = drafted[1][2], drafted[1][3]
        image.load()
        rgb = _rgb(image, warnings)
        if min_side:
            # Half of what would be allowed: a box filter is coarser than the DCT's, and the
            # resize that follows needs something to work with.
            factor = min(rgb.size) // (2 * min_side)
            if factor > 1:
                rgb = rgb.reduce(factor)
                extent = extent[0] / factor, extent[1] / factor
        return np.asarray(rgb), extent
    except Exception as error:
        raise _broken(data, format_, error) from None


def _rgb(image: Image.Image, warnings: list[str]) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image, warnings).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_grey(image: Image.Image, warnings: list[str]) -> Image.Image:
    """Grey with more than 8 bits, as 8. Pillow's own conversion clips at 255: nearly all white."""
    values: NDArray[np.float32] = np.asarray(image).astype(np.float32)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if image.mode == "F" and low >= 0 and high <= 1:
        scaled = values * 255
    elif image.mode == "F" and low >= 0 and high <= 255:
        scaled = values
    elif low >= 0 and high <= 65535 and image.mode != "F":
        scaled = values / np.float32(257)
    else:
        warnings.append(f"grey values were stretched to 0-255 (from {low:g} to {high:g})")
        spread = np.float32(high - low) or np.float32(1)
        scaled = (values - low) / spread * 255
    eight_bits = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0).round().clip(0, 255)
    return Image.fromarray(eight_bits.astype(np.uint8))
