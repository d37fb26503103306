"""Which format some bytes are, by their first bytes alone.

Names and content types lie: a `.jpg` may hold a PNG, a WebP or an error page. Formats we do
not read are recognised too, so that the error can say what was found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from PIL import features

from lookalike_serving.images import codecs

SUPPORTED: tuple[str, ...] = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    *(("AVIF",) if features.check("avif") else ()),
    *codecs.installed(),
)
"""What `decode_image` reads here, by Pillow's names for them; `HEIC` is any HEIF file."""

NAMES = {"WEBP": "WebP", "JXL": "JPEG XL"}
"""What formats are called where that differs."""

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
    "JXL": "image/jxl",
}

EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
    "AVIF": "avif",
    "HEIC": "heic",
    "JXL": "jxl",
}


@dataclass(frozen=True, slots=True)
class Sniffed:
    """`format` is Pillow's name where we read it; `found` is what to call it in an error."""

    format: str | None
    found: str
    is_image: bool = True


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\xff\x0a", "JXL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JXL"),
)

_FOREIGN_IMAGES: tuple[tuple[bytes, str], ...] = (
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"\x00\x00\x01\x00", "Windows icon (ICO)"),
    (b"v/1\x01", "OpenEXR"),
    (b"DDS ", "DirectDraw surface (DDS)"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"qoif", "QOI"),
)

_FOREIGN_FILES: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"OggS", "an Ogg media file"),
    (b"ID3", "an MP3 sound file"),
    (b"PAR1", "a Parquet table"),
)

# ISO base media files (HEIC, AVIF, MP4) differ in the brand that follows `ftyp`.
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}

_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|script)\b", re.I | re.S)
_SVG = re.compile(
    rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype\s+svg[^>]*>\s*)?<svg\b", re.I | re.S
)


def sniff(data: bytes) -> Sniffed:
    """What `data` is. Never raises; `data` may be of any length, though not empty."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            if name == "TIFF" and data[8:10] == b"CR":
                return Sniffed(None, "Canon raw (CR2)")
            return _known(name)
    if data[:4] == b"RIFF":
        if data[8:12] == b"WEBP":
            return _known("WEBP")
        return Sniffed(None, "a RIFF sound or video file", is_image=False)
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    for magic, name in _FOREIGN_IMAGES:
        if data.startswith(magic):
            return Sniffed(None, name)
    for magic, name in _FOREIGN_FILES:
        if data.startswith(magic):
            return Sniffed(None, name, is_image=False)
    return _text(data)


def _known(format: str) -> Sniffed:
    return Sniffed(format if format in SUPPORTED else None, NAMES.get(format, format))


def _iso_media(data: bytes) -> Sniffed:
    size = min(int.from_bytes(data[:4]), 256)
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, size, 4))}
    if brands & _AVIF_BRANDS:
        return _known("AVIF")
    if brands & _HEIC_BRANDS:
        return _known("HEIC")
    return Sniffed(None, "an MP4 or QuickTime video", is_image=False)


def _text(data: bytes) -> Sniffed:
    head = data[:2048].removeprefix(b"\xef\xbb\xbf")
    if _SVG.match(head):
        return Sniffed(None, "SVG")
    if _HTML.match(head):
        return Sniffed(None, "an HTML page", is_image=False)
    stripped = head.lstrip()
    if stripped[:1] in (b"{", b"["):
        return Sniffed(None, "JSON text", is_image=False)
    if stripped[:5] == b"<?xml":
        return Sniffed(None, "XML text", is_image=False)
    printable = sum(1 for b in head if b >= 32 or b in b"\t\n\r")
    if head and printable == len(head):
        return Sniffed(None, "plain text", is_image=False)
    return Sniffed(None, "unknown bytes", is_image=False)
