from __future__ import annotations

import io
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from lookalike_serving.images import ImageError, decode_image
from lookalike_serving.images.sniff import SUPPORTED


def difference(a, b) -> float:
    """Mean absolute difference, grey levels of 255."""
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def refused(data: bytes, **options) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode_image(data, **options)
    return caught.value


@pytest.mark.parametrize("format", SUPPORTED)
def test_every_supported_format_gives_the_picture(format, encode, picture):
    decoded = decode_image(encode(picture, format))
    assert decoded.format == format
    assert (decoded.width, decoded.height) == (320, 240)
    assert decoded.pixels.dtype == np.uint8
    assert difference(decoded.pixels, picture) < 3
    assert decoded.warnings == ()


def test_lossless_formats_give_the_very_pixels(encode, picture):
    for format in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(decode_image(encode(picture, format)).pixels, picture)


# --- scaling while decoding ---------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(1280, 960), (960, 1280), (1000, 450)])
def test_scaling_keeps_both_sides_above_the_least(format, size, encode, scene_of):
    decoded = decode_image(encode(scene_of(*size), format), min_side=100)
    height, width = decoded.pixels.shape[:2]
    assert min(height, width) >= 100
    assert max(height, width) < max(size)
    assert (decoded.width, decoded.height) == size


def test_an_image_smaller_than_the_least_is_not_scaled(jpeg):
    assert decode_image(jpeg, min_side=500).pixels.shape == (240, 320, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_scaled_picture_is_the_full_one_seen_smaller(format, encode, scene_of):
    data = encode(scene_of(1200, 900), format)
    full, scaled = decode_image(data).pixels, decode_image(data, min_side=64).pixels
    size = (64, 48)
    a, b = (np.asarray(Image.fromarray(p).resize(size)) for p in (full, scaled))
    assert difference(a, b) < 2


# --- orientation --------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_undone(format, orientation, encode, picture):
    if format not in SUPPORTED:
        pytest.skip("this Pillow reads no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(picture, format, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    decoded = decode_image(data)
    assert (decoded.width, decoded.height) == upright.size
    assert difference(decoded.pixels, np.asarray(upright)) < 1
    assert decoded.pixels.flags.c_contiguous


def test_a_rotated_jpeg_is_scaled_too(encode, scene_of):
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = decode_image(encode(scene_of(1200, 600), "JPEG", exif=exif), min_side=100)
    assert (decoded.width, decoded.height) == (600, 1200)
    assert decoded.pixels.shape == (300, 150, 3)


def test_damaged_exif_costs_the_orientation_and_not_the_picture(encode, picture):
    damaged = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + b"\xff" * 20
    decoded = decode_image(encode(picture, "JPEG", exif=damaged))
    assert difference(decoded.pixels, picture) < 3


# --- colour -------------------------------------------------------------------------------


def test_cmyk_becomes_rgb(encode, picture):
    data = encode(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=95)
    assert difference(decode_image(data).pixels, picture) < 4


def test_adobe_ycck_is_read_with_its_inverted_inks(encode, picture):
    # Adobe writes CMYK inverted and as YCCK, and says so in an APP14 segment: transform 2.
    inverted = 255 - np.asarray(Image.fromarray(picture).convert("CMYK"))
    ycc = np.asarray(Image.fromarray(255 - inverted[..., :3]).convert("YCbCr"))
    plain = encode(Image.fromarray(np.dstack([ycc, 255 - inverted[..., 3]]), "CMYK"), "JPEG")
    start = plain.index(b"Adobe")
    assert plain[start + 11] == 0
    ycck = plain[: start + 11] + b"\x02" + plain[start + 12 :]
    expected = np.asarray(Image.open(io.BytesIO(ycck)).convert("RGB"))
    assert difference(decode_image(ycck).pixels, expected) == 0


def test_a_cmyk_jpeg_is_scaled_too(encode, scene_of):
    data = encode(Image.fromarray(scene_of(1600, 1200)).convert("CMYK"), "JPEG")
    assert decode_image(data, min_side=100).pixels.shape == (150, 200, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_grey_becomes_three_equal_channels(format, encode, picture):
    grey = Image.fromarray(picture).convert("L")
    pixels = decode_image(encode(grey, format)).pixels
    assert pixels.shape == (240, 320, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_tones(format, encode):
    ramp = np.linspace(0, 65535, 256 * 64).reshape(64, 256).astype(np.uint16)
    pixels = decode_image(encode(ramp, format)).pixels
    assert difference(pixels[..., 0], (ramp / 257).astype(np.uint8)) < 1


def test_sixteen_bit_colour_keeps_its_tones(picture):
    high, low = picture.astype(">u2"), np.uint16(257)
    rows = b"".join(b"\x00" + (row * low).astype(">u2").tobytes() for row in high)
    data = make_png(320, 240, bit_depth=16, colour_type=2, rows=rows)
    assert difference(decode_image(data).pixels, picture) < 1


@pytest.mark.parametrize(
    ("values", "stretched"),
    [
        (np.linspace(0, 1, 4096), False),
        (np.linspace(0, 255, 4096), False),
        (np.linspace(-40, 900, 4096), True),
    ],
)
def test_floating_point_tiffs_have_a_defined_range(values, stretched, encode):
    decoded = decode_image(encode(values.reshape(64, 64).astype(np.float32), "TIFF"))
    assert (decoded.pixels.min(), decoded.pixels.max()) == (0, 255)
    assert bool(decoded.warnings) is stretched


def test_a_floating_point_tiff_with_nan_is_black_there(encode):
    values = np.full((32, 32), 0.5, np.float32)
    values[0, 0] = np.nan
    pixels = decode_image(encode(values, "TIFF")).pixels
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[1, 1].tolist() == [128, 128, 128]


def test_one_bit_images_are_black_and_white(encode, picture):
    pixels = decode_image(encode(Image.fromarray(picture).convert("1"), "PNG")).pixels
    assert set(np.unique(pixels)) == {0, 255}


def rgba_with_hole(picture) -> Image.Image:
    image = Image.fromarray(picture).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 50, 50))
    return image


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_on_white(format, encode, picture):
    pixels = decode_image(encode(rgba_with_hole(picture), format, lossless=True)).pixels
    assert pixels[10, 10].tolist() == [255, 255, 255]
    assert difference(pixels[60:], picture[60:]) < 1


def test_half_transparent_pixels_are_mixed_with_white(encode):
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert abs(int(decode_image(encode(image, "PNG")).pixels[0, 0, 0]) - 127) <= 1


def test_a_palette_with_transparency_lies_on_white(encode):
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.paste(0, (0, 0, 8, 8))
    pixels = decode_image(encode(image, "PNG", transparency=0)).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[12, 12].tolist() == [200, 0, 0]


def test_grey_with_alpha_lies_on_white(encode):
    image = Image.new("LA", (8, 8), (0, 0))
    assert decode_image(encode(image, "PNG")).pixels[0, 0].tolist() == [255, 255, 255]


def test_icc_profiles_are_ignored(encode, picture):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = encode(picture, "PNG", icc_profile=profile)
    assert np.array_equal(decode_image(data).pixels, picture)


# --- several frames -----------------------------------------------------------------------


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken_and_said(format, encode):
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
    decoded = decode_image(data)
    assert decoded.pixels[15, 20].tolist() == [255, 0, 0]
    assert decoded.warnings == ("animated: the first frame is used",)


def test_of_a_tiff_with_pages_the_first_is_taken_and_said(encode):
    pages = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime")]
    decoded = decode_image(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert decoded.pixels[15, 20].tolist() == [255, 0, 0]
    assert decoded.warnings == ("several pages: the first is used",)


# --- what is refused ----------------------------------------------------------------------


def test_no_bytes_are_empty():
    assert refused(b"").code == "empty"


@pytest.mark.parametrize(
    ("data", "code", "found"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image", "an HTML page"),
        (b"\xef\xbb\xbf  <!-- hi -->\n<html>", "not_an_image", "an HTML page"),
        (b'{"error": "not found"}', "not_an_image", "JSON text"),
        (b"<?xml version='1.0'?><Error/>", "not_an_image", "XML text"),
        (b"no such file\n", "not_an_image", "plain text"),
        (bytes(range(1, 200)), "not_an_image", "unknown bytes"),
        (b"\x00", "not_an_image", "unknown bytes"),
        (b"%PDF-1.7 ...", "not_an_image", "PDF"),
        (b"PK\x03\x04....", "not_an_image", "ZIP"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "not_an_image", "RIFF"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42", "not_an_image", "MP4"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_format", "SVG"),
        (b"<?xml version='1.0'?>\n<svg/>", "unsupported_format", "SVG"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "unsupported_format", "JPEG 2000"),
        (b"8BPS\x00\x01", "unsupported_format", "Photoshop"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "unsupported_format", "CR2"),
    ],
)
def test_what_is_no_supported_image_is_named(data, code, found):
    error = refused(data)
    assert error.code == code
    assert found in error.message


def test_an_unsupported_format_names_the_supported_ones():
    message = refused(b"8BPS\x00\x01").message
    assert all(name in message for name in ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF"))


@pytest.mark.parametrize("format", SUPPORTED)
@pytest.mark.parametrize("part", [0.03, 0.5, 0.9])
def test_a_cut_file_is_refused(format, part, encode, scene_of):
    # Enough detail that there are pixels in every part of the file.
    noise = np.random.default_rng(0).integers(0, 60, (200, 300, 3), np.uint8)
    data = encode(scene_of(300, 200) // 2 + noise, format)
    assert refused(data[: int(len(data) * part)]).code in {"truncated", "corrupt"}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_a_half_file_is_called_truncated(format, encode, picture):
    data = encode(picture, format)
    assert refused(data[: len(data) // 2]).code == "truncated"


def test_a_damaged_file_is_called_corrupt(png):
    start = png.index(b"IDAT") + 20
    assert refused(png[:start] + b"\x00" * 200 + png[start + 200 :]).code == "corrupt"


def test_a_jpeg_with_something_behind_its_end_is_read(jpeg, picture):
    assert difference(decode_image(jpeg + b"trailing bytes").pixels, picture) < 3


def make_png(width: int, height: int, *, bit_depth=8, colour_type=2, rows=b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_by_its_header():
    # 50,000 x 50,000 pixels in 200 bytes: decoding any of it would need 7.5 GB.
    error = refused(make_png(50_000, 50_000, rows=b"\x00" * 1000))
    assert error.code == "too_many_pixels"
    assert "50000 x 50000" in error.message


@pytest.mark.parametrize("format", SUPPORTED)
def test_the_pixel_limit_holds_for_every_format(format, encode, picture):
    data = encode(picture, format)
    assert refused(data, max_pixels=320 * 240 - 1).code == "too_many_pixels"
    assert decode_image(data, max_pixels=320 * 240).pixels.shape == (240, 320, 3)


def test_scaling_does_not_get_around_the_pixel_limit(jpeg):
    assert refused(jpeg, min_side=16, max_pixels=1000).code == "too_many_pixels"


def test_any_bytes_give_pixels_or_an_image_error(encode, picture):
    # Files with bytes changed at random: whatever the libraries raise must not get through.
    rng = np.random.default_rng(3)
    for format in SUPPORTED:
        data = encode(picture[:60, :80], format)
        for _ in range(60):
            damaged = bytearray(data)
            for _ in range(int(rng.integers(1, 12))):
                damaged[int(rng.integers(len(data)))] = int(rng.integers(256))
            try:
                decoded = decode_image(bytes(damaged), min_side=32, max_pixels=10**6)
            except ImageError:
                continue
            assert decoded.pixels.ndim == 3


def test_the_error_survives_a_process_border():
    import pickle

    error = pickle.loads(pickle.dumps(refused(b"")))
    assert (error.code, error.message) == ("empty", refused(b"").message)


# --- threads ------------------------------------------------------------------------------


def test_many_threads_decode_what_one_does(encode, scene_of):
    files = [encode(scene_of(400 + 8 * i, 300), f) for i, f in enumerate(SUPPORTED * 3)]
    alone = [decode_image(data).pixels for data in files]
    gate = threading.Barrier(4)

    def work(_: int):
        gate.wait()
        return [decode_image(data).pixels for data in files]

    with ThreadPoolExecutor(4) as pool:
        for together in pool.map(work, range(4)):
            assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
