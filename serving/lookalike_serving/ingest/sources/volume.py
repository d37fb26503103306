"""Images in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from glob import escape
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from lookalike_crds.failures import ENTRY_BAD_METADATA, ENTRY_WITHOUT_IMAGE
from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.source_kinds import VolumeSource as VolumeSpec
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.images.files import open_regular, read_regular
from lookalike_serving.ingest.sources import archives
from lookalike_serving.ingest.sources.files import SIDECAR, Files
from lookalike_serving.ingest.sources.opening import Opening
from lookalike_serving.ingest.sources.protocol import (
    Entry,
    Gone,
    Rejected,
    Seen,
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
        self._files: Files | None = None
        """For single keys; made again when the metadata file is another one."""
        self._table_version: str | None = None

    async def list(self) -> AsyncIterator[Entry]:
        root = self._resolved_root()
        files = self._new_files(root)
        for unreadable in files.unreadable():
            yield unreadable
        for entry in self._walk(root):
            if isinstance(entry, Rejected):
                yield entry
                continue
            path = Path(entry.path)
            key = path.relative_to(root).as_posix()
            if not files.is_archive(key) and not files.wants(key):
                continue
            try:
                state = entry.stat()
            except OSError as error:
                yield Rejected(legible(key), f"cannot be read: {_reason(error)}", path.as_uri())
                continue
            if files.is_archive(key) and stat.S_ISREG(state.st_mode):
                async for member in self._members(files, key, path, state):
                    yield member
                continue
            yield _one(files, key, path, state)
        for warning in files.warnings():
            yield warning

    def goes_through_all(self, key: str) -> bool:
        return key == self._mapping.file

    async def look(self, keys: Iterable[str]) -> Sequence[Seen]:
        return await asyncio.to_thread(self._look, tuple(keys))

    def key_of(self, uri: str) -> str | None:
        root = f"{self._root.resolve().as_uri()}/"
        if "#" in uri or not uri.startswith(root):
            return None
        return os.fsdecode(unquote_to_bytes(uri[len(root) :]))

    def _look(self, keys: Sequence[str]) -> Sequence[Seen]:
        root = self._resolved_root()
        found: dict[str, Seen] = {}
        for key in self._with_described(root, keys):
            parts = key.split("/")
            if any(part.startswith(".") or not part or "\x00" in part for part in parts):
                continue  # hidden, or no path of a file of the folder
            path = root / key
            try:
                if _passes_a_link(root, parts[:-1]):
                    continue  # a listing does not follow it
                if path.is_symlink() and not path.resolve().is_relative_to(root):
                    continue
                state = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                found[key] = Seen(key, None)
            except (OSError, RuntimeError):
                found[key] = Seen(key, "?", (path, None))
            else:
                if not stat.S_ISDIR(state.st_mode):
                    of_all = self.goes_through_all(key)
                    found[key] = Seen(key, _version(state), (path, state), of_all)
        if any(each.version is None for each in found.values()) and _is_empty(root):
            raise SourceError(
                f"source {self.name}: {root} is empty, as a disk is that is not mounted: nothing "
                "was deleted. If that is meant, delete the documents or the source"
            )
        return list(found.values())

    def _with_described(self, root: Path, keys: Sequence[str]) -> Iterator[str]:
        """The keys, and for each that is a sidecar those of the images that it describes."""
        for key in keys:
            yield key
            if self._mapping.sidecars and key.endswith(SIDECAR):
                for path in (root / key).parent.glob(f"{escape(Path(key).stem)}.*"):
                    yield path.relative_to(root).as_posix()

    async def entries(self, seen: Iterable[Seen]) -> AsyncIterator[Entry | Gone]:
        files = await asyncio.to_thread(self._files_for_keys)
        root = self._resolved_root()
        for each in seen:
            if each.found is None:
                gone = files.gone(each.key, (root / each.key).as_uri(), folders=True)
                if gone is not None:
                    yield gone
                continue
            path, state = each.found
            if not files.is_archive(each.key) and not files.wants(each.key):
                continue
            if state is None:
                yield Rejected(legible(each.key), "cannot be read", path.as_uri())
                continue
            if files.is_archive(each.key) and stat.S_ISREG(state.st_mode):
                async for member in self._members(files, each.key, path, state):
                    yield member
                continue
            yield _one(files, each.key, path, state)

    @staticmethod
    def _members(files: Files, key: str, path: Path, state: os.stat_result) -> AsyncIterator[Entry]:
        """The images of an archive."""
        opened = partial(_opened, path)
        inside = files.read(key, opened)
        return files.archive(key, path.as_uri(), _version(state), state.st_mtime, inside)

    def _resolved_root(self) -> Path:
        if not self._root.is_dir():
            raise SourceError(
                f"source {self.name}: {self._root} is not a folder: correct volume.path, or make it"
            )
        return self._root.resolve()

    def _files_for_keys(self) -> Files:
        root = self._resolved_root()
        version = None
        if self._mapping.file is not None:
            with contextlib.suppress(OSError):
                version = _version((root / self._mapping.file).stat())
        if self._files is None or version != self._table_version:
            self._files, self._table_version = self._new_files(root), version
        return self._files

    def _new_files(self, root: Path) -> Files:
        file = self._mapping.file
        return Files(
            self.name,
            self._glob,
            self._mapping,
            self._fields,
            self.skipped,
            None if file is None else root / file,
            self._scratch,
            self._image_column,
            archives=self._archives,
        )

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


def _one(files: Files, key: str, path: Path, state: os.stat_result) -> Entry:
    """What becomes of an image."""
    if not stat.S_ISREG(state.st_mode):
        return Rejected(legible(key), _NO_FILE, path.as_uri(), ENTRY_WITHOUT_IMAGE)
    facts = (key, path.as_uri(), _version(state), state.st_size, state.st_mtime)
    if files.sidecar_of(key) is None:
        return files.entry(*facts)
    beside = path.with_suffix(SIDECAR)
    try:
        data = read_regular(beside, archives.MOST_METADATA, follow=False)
    except FileNotFoundError:
        data = None
    except OSError as error:
        told = f"its metadata, {beside.name}, cannot be read: {_reason(error)}"
        return Rejected(legible(key), told, path.as_uri(), ENTRY_BAD_METADATA)
    return files.with_sidecar(*facts, data)


def _version(state: os.stat_result) -> str:
    return f"{state.st_size}-{state.st_mtime_ns}"


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but hidden files."""
    with os.scandir(folder) as entries:
        return all(entry.name.startswith(".") for entry in entries)


def _passes_a_link(root: Path, folders: Sequence[str]) -> bool:
    """Whether a path leads over a link to a folder. Raises OSError."""
    for folder in folders:
        root = root / folder
        if root.is_symlink():
            return True
    return False


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
