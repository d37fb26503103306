"""What the name of a file tells: whether it is an image, and whether a glob fits it."""

from __future__ import annotations

import re
from collections.abc import Callable

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .avif .heic .heif .hif .jxl".split()
)
_RAW = "camera raw files are not supported: export JPEGs"
_NOT_READ = {
    **dict.fromkeys(".arw .cr2 .cr3 .dng .nef .nrw .orf .pef .raf .rw2 .srw".split(), _RAW),
    **dict.fromkeys((".psd", ".psb"), "Photoshop files are not read: export JPEGs or PNGs"),
    **dict.fromkeys((".svg", ".svgz"), "drawings (SVG) are not read: export PNGs"),
    **dict.fromkeys((".jp2", ".j2k"), "JPEG 2000 is not read: convert them to JPEG"),
    **dict.fromkeys((".mov", ".mp4", ".m4v", ".avi"), "videos are not read: export single frames"),
}
"""Files that people take for images, by suffix, and why they are passed over."""


def no_image(suffix: str) -> str:
    if suffix in _NOT_READ:
        return f"{suffix}: {_NOT_READ[suffix]}"
    named = f"{suffix} is" if suffix else "a name without an ending is"
    return f"{named} no name of an image: if it is one, rename it"


def glob_of(pattern: str) -> Callable[[str], bool]:
    """Whether a path below the root matches: `*` within a name, `**/` over any folders."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            parts.append(".*")
            at += 2
        elif pattern[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            parts.append("[^/]")
            at += 1
        else:
            parts.append(re.escape(pattern[at]))
            at += 1
    expression = re.compile("".join(parts))
    return lambda path: expression.fullmatch(path) is not None
