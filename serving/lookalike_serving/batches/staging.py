"""Bytes of images that wait in a batch: one file each, below the data folder.

They are kept apart from the images of documents because they may not be images at all, and because
they are removed when their item is done.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lookalike_serving.images import ImageFile
from lookalike_serving.machine.disk import check_room

PREFIX = "staged:"
_PLACE = ".place"
_DIGEST = re.compile(r"[0-9a-f]{64}")
"""References of version 0.1.0 have none."""
_SYNCS_AT_ONCE = 8
"""File systems combine syncs that run together: .1 ms for each file instead of 2.7 (ext4)."""


class Staging:
    """Blocking; call it in a thread. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.place = _place_of(folder)
        """The id of the folder: replicas that share the folder have the same id."""

    def check_room(self) -> None:
        """Raises NoRoom if no more than the reserve is free. Takes microseconds."""
        check_room(self._folder)

    def put(self, batch: str, name: str, image: ImageFile) -> str:
        """Store an image; returns the reference for `Item.image`.

        Durable after `sync`. The hash is part of the reference, so that it is not computed again.
        Raises NoRoom.
        """
        check_room(self._folder, len(image.data))
        reference = f"{PREFIX}{batch}/{name}.{image.sha256}"
        path = self._path(reference)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.data)
        return reference

    def sync(self, references: Sequence[str]) -> None:
        """Wait until the bytes are on the disk: an item that survives a power cut has its bytes."""
        with ThreadPoolExecutor(_SYNCS_AT_ONCE) as threads:
            list(threads.map(_sync, map(self._path, references)))
        if references:
            _sync(self._path(references[0]).parent)

    def get(self, reference: str) -> ImageFile:
        """Raises FileNotFoundError if the bytes are gone, or are on another replica's disk."""
        data = self._path(reference).read_bytes()
        _, _, digest = reference.rpartition(".")
        return ImageFile(data, digest) if _DIGEST.fullmatch(digest) else ImageFile.of(data)

    def remove(self, references: Sequence[str]) -> None:
        for reference in references:
            self._path(reference).unlink(missing_ok=True)

    def remove_batch(self, batch: str) -> None:
        shutil.rmtree(self._folder / batch, ignore_errors=True)

    def batches(self) -> list[str]:
        """Ids of batches that have bytes here."""
        return sorted(path.name for path in self._folder.iterdir() if path.name != _PLACE)

    def _path(self, reference: str) -> Path:
        batch, _, name = reference.removeprefix(PREFIX).partition("/")
        return self._folder / batch / name


def _place_of(folder: Path) -> str:
    place, mine = uuid.uuid4().hex, folder / f"{_PLACE}-{uuid.uuid4().hex}"
    # On a full disk the id lasts as long as the process.
    with contextlib.suppress(OSError):
        try:
            mine.write_text(place)
            with contextlib.suppress(FileExistsError):
                os.link(mine, folder / _PLACE)  # whole, or not at all
        finally:
            mine.unlink(missing_ok=True)
        return (folder / _PLACE).read_text()
    return place


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
