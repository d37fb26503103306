"""Which documents show an uploaded image, so that it goes with the last of them.

    images/ab/<sha256>.jpg                 the image: equal bytes are kept once
    images/ab/<sha256>.jpg.held/<holder>   an empty file for each document that shows it

Files, since replicas may share the folder: making and removing one is atomic everywhere. Who takes
hold notes it first and looks for the image afterwards; who lets go moves the image aside first and
looks for holders afterwards. So whichever comes first, an image that somebody holds is there.

An image without a folder of holders was stored by a version that kept none: nobody can know who
shows it, so it stays.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path

_SUFFIX = ".held"
_UNKNOWN = "unknown"
"""Holds an image that was there before its holders were noted."""


def holder_of(index: str, point: str) -> str:
    """A document, by its point and the index that the point is in."""
    return f"{point}@{index}"


def hold(image: Path, holder: str, write: Callable[[], None]) -> None:
    """Note the holder, then have the image written if it is not there. Raises OSError."""
    folder = _folder(image)
    unknown = image.exists() and not folder.is_dir()
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if unknown:
                (folder / _UNKNOWN).touch()
            (folder / holder).touch()
            break
        except FileNotFoundError:  # the last holder has just let go
            continue
    if not image.exists():
        try:
            write()
        except BaseException:
            release(image, holder)
            raise


def release(image: Path, holder: str) -> bool:
    """Let go of the image; whether it went, since nobody else holds it."""
    folder = _folder(image)
    try:
        (folder / holder).unlink()
        folder.rmdir()
    except OSError:  # it did not hold it, or others do
        return False
    aside = image.with_name(f".{image.name}.{uuid.uuid4().hex}")
    try:
        image.rename(aside)
    except FileNotFoundError:
        return False
    if folder.exists():  # somebody has taken hold of it in the meantime
        aside.replace(image)
        return False
    aside.unlink()
    return True


def release_index(images: Path, index: str) -> int:
    """Let go of everything that documents of an index hold; how many images went."""
    gone = 0
    for holding in list(images.glob(f"*/*{_SUFFIX}/*@{index}")):
        folder = holding.parent
        gone += release(folder.with_name(folder.name.removesuffix(_SUFFIX)), holding.name)
    with contextlib.suppress(OSError):
        for folder in images.iterdir():
            with contextlib.suppress(OSError):
                folder.rmdir()
    return gone


def _folder(image: Path) -> Path:
    return image.with_name(image.name + _SUFFIX)
