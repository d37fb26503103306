"""Images in a folder."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lookalike_crds.failures import ENTRY_WITHOUT_IMAGE
from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.source_kinds import VolumeSource as VolumeSpec
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.images.files import open_regular
from lookalike_serving.ingest.sources.files import Files
from lookalike_serving.ingest.sources.opening import Opening
from lookalike_serving.ingest.sources.protocol import (
    Entry,
    Rejected,
    Skipped,
    SourceError,
    legible,
)

MAX_FOLDER = 1_000_000
"""Entries of one folder: they are sorted in memory."""


def open_volume(spec: VolumeSpec, opening: Opening) -> VolumeSource:
    return VolumeSource(opening.name, spec, opening.mapping, opening.fields, opening.scratch)


class VolumeSource:
    """A folder and everything below it, in the order of names.

    Hidden files and links that lead out of the folder are left alone. A file is an image
    candidate by its name; whether it is one, its content says when it is decoded.
    """

    def __init__(
        self,
        name: str,
        spec: VolumeSpec,
        mapping: MetadataMapping,
        fields: tuple[FieldSpec, ...],
        scratch: Path,
    ) -> None:
        self.name = name
        self.skipped = Skipped()
        self._root = Path(spec.path)
        self._glob = spec.glob
        self._archives = spec.archives
        self._image_column = spec.image_column
        self._mapping = mapping
        self._fields = fields
        self._scratch = scratch

    async def list(self) -> AsyncIterator[Entry]:
        if not self._root.is_dir():
            raise SourceError(
                f"source {self.name}: {self._root} is not a folder: correct volume.path, or make it"
            )
        root = self._root.resolve()
        file = self._mapping.file
        files = Files(
            self.name,
            self._glob,
            self._mapping,
            self._fields,
            self.skipped,
            None if file is None else root / file,
            self._scratch,
            self._image_column,
        )
        for unreadable in files.unreadable():
            yield unreadable
        for entry in self._walk(root):
            if isinstance(entry, Rejected):
                yield entry
                continue
            path = Path(entry.path)
            key = path.relative_to(root).as_posix()
            packed = self._archives and files.is_archive(key)
            if not packed and not files.wants(key):
                continue
            try:
                state = entry.stat()
            except OSError as error:
                yield Rejected(legible(key), f"cannot be read: {_reason(error)}", path.as_uri())
                continue
            if not stat.S_ISREG(state.st_mode):
                yield Rejected(legible(key), _NO_FILE, path.as_uri(), ENTRY_WITHOUT_IMAGE)
                continue
            version = f"{state.st_size}-{state.st_mtime_ns}"
            if packed:
                opened = partial(_opened, path)
                uri, modified = path.as_uri(), state.st_mtime
                async for member in files.archive(key, uri, version, modified, opened):
                    yield member
                continue
            yield files.entry(key, path.as_uri(), version, state.st_size, state.st_mtime)
        for warning in files.warnings():
            yield warning

    def _walk(self, root: Path) -> Iterator[os.DirEntry[str] | Rejected]:
        """Everything below the root that is not a folder, in the order of names.

        Folders wait on a list and not on the call stack: a tree may be deeper than that.
        """
        waiting: list[Iterator[os.DirEntry[str]]] = []
        try:
            waiting.append(iter(_entries(root)))
        except OSError as error:
            told = f"source {self.name}: {root} cannot be read: {_reason(error)}"
            raise SourceError(told) from None
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
                continue
            if entry.name.startswith("."):
                continue
            if _leads_out(entry, root):
                self.skipped.add(_LEADS_OUT, Path(entry.path).relative_to(root).as_posix())
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(iter(_entries(Path(entry.path))))
                elif not (entry.is_symlink() and _is_folder(entry)):
                    yield entry
            except OSError as error:
                key = Path(entry.path).relative_to(root).as_posix()
                told = f"the folder cannot be read: {_reason(error)}"
                yield Rejected(legible(f"{key}/"), told, hides=True)


_NO_FILE = "is no file but a pipe, socket or device: leave it out"
_LEADS_OUT = (
    "is a link that leads out of the folder: copy the picture, or make the place it leads to a "
    "source"
)


def _opened(path: Path) -> BinaryIO:
    return os.fdopen(open_regular(path), "rb")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, by name. Raises OSError."""
    entries: list[os.DirEntry[str]] = []
    with os.scandir(folder) as found:
        for entry in found:
            entries.append(entry)
            if len(entries) > MAX_FOLDER:
                raise OSError(
                    errno.EFBIG,
                    f"it has more than {MAX_FOLDER:,} entries: spread them over several folders",
                )
    return sorted(entries, key=lambda e: e.name)


def _leads_out(entry: os.DirEntry[str], root: Path) -> bool:
    """Whether an entry is a link to a place outside. One that leads nowhere does not."""
    if not entry.is_symlink():
        return False
    try:
        return not Path(entry.path).resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a loop of links
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links: told when the entry is opened
        return False


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a link that leads to itself"
    if error.errno == errno.ENOENT:
        return "it is a link that leads nowhere, or it was removed meanwhile"
    return error.strerror or str(error)
