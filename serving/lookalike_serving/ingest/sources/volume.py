"""Images in a folder."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from lookalike_crds.failures import ENTRY_BAD_ID, ENTRY_WITHOUT_IMAGE
from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.sources import MetadataMapping, OnMisfit
from lookalike_crds.sources import VolumeSource as VolumeSpec
from lookalike_serving.documents.ids import canonical
from lookalike_serving.ingest.sources.cells import Reading
from lookalike_serving.ingest.sources.csv_rows import is_text
from lookalike_serving.ingest.sources.file_facts import FileFacts, Known
from lookalike_serving.ingest.sources.protocol import (
    Entry,
    Item,
    LeftOut,
    Rejected,
    Skipped,
    SourceError,
    legible,
)
from lookalike_serving.ingest.sources.rows import (
    BadRow,
    Described,
    RowReader,
    SkippedRow,
    unseen_columns,
)
from lookalike_serving.ingest.sources.sidecar import Sidecar

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .avif .heic .heif .hif .jxl".split()
)
_RAW = "camera raw files are not read: export JPEGs"
_NOT_READ = {
    **dict.fromkeys(".arw .cr2 .cr3 .dng .nef .nrw .orf .pef .raf .rw2 .srw".split(), _RAW),
    **dict.fromkeys((".psd", ".psb"), "Photoshop files are not read: export JPEGs or PNGs"),
    **dict.fromkeys((".svg", ".svgz"), "drawings (SVG) are not read: export PNGs"),
    **dict.fromkeys((".jp2", ".j2k"), "JPEG 2000 is not read: convert them to JPEG"),
    **dict.fromkeys((".mov", ".mp4", ".m4v", ".avi"), "videos are not read: export single frames"),
}
"""Files that people take for images, by suffix, and why they are passed over."""

MAX_FOLDER = 1_000_000
"""Entries of one folder: they are sorted in memory."""


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
        self._matches = _glob(canonical(spec.glob))
        self._mapping = mapping
        self._fields = fields
        self._scratch = scratch

    async def list(self) -> AsyncIterator[Entry]:
        if not self._root.is_dir():
            raise SourceError(
                f"source {self.name}: {self._root} is not a folder: correct volume.path, or make it"
            )
        root = self._root.resolve()
        sidecar, reading = None, Reading()
        if self._mapping.file is not None:
            path = root / self._mapping.file
            sidecar = Sidecar(
                self.name,
                path,
                self._mapping,
                self._scratch / f"{self.name}.sqlite",
                one_by_one=self._mapping.on_missing_row is OnMisfit.FAIL,
            )
            reading = sidecar.reading
            for bad in sidecar.unreadable:
                yield Rejected(f"{self._mapping.file} {bad.place}", bad.cause)
        reader = RowReader(self._mapping, self._fields, self._mapping.key_column, reading)
        facts = FileFacts(self._mapping)
        for entry in self._walk(root):
            if isinstance(entry, Rejected):
                yield entry
                continue
            path = Path(entry.path)
            key = path.relative_to(root).as_posix()
            if sidecar is not None and path == sidecar.path:
                continue
            matches = self._matches(canonical(key))
            if not matches or path.suffix.lower() not in IMAGE_SUFFIXES:
                if matches:
                    self.skipped.add(_no_image(path.suffix.lower()), key)
                if sidecar is not None and is_text(key):
                    sidecar.pass_over(key)
                continue
            try:
                state = entry.stat()
                if not stat.S_ISREG(state.st_mode):
                    raise BadRow(_NO_FILE, ENTRY_WITHOUT_IMAGE)
                known = facts.of(key, state)
                described = self._described(key, sidecar, reader, known)
            except SkippedRow as skipped:
                caution = skipped.caution
                self.skipped.add(caution.cause, caution.example(key))
                yield LeftOut(path.as_uri())
                continue
            except BadRow as bad_row:
                yield Rejected(legible(key), str(bad_row), path.as_uri(), bad_row.kind)
                continue
            except OSError as error:
                yield Rejected(legible(key), f"cannot be read: {_reason(error)}", path.as_uri())
                continue
            version = f"{state.st_size}-{state.st_mtime_ns}"
            yield Item(
                legible(key),
                described.document_id,
                path.as_uri(),
                version,
                described.metadata,
                self._mapping.exif,
                described.cautions,
            )
        if sidecar is not None:
            for warning in (*sidecar.warnings(), *unseen_columns(self.name, reader)):
                yield warning

    def _described(
        self, key: str, sidecar: Sidecar | None, reader: RowReader, known: Known
    ) -> Described:
        """What is said of a file. Raises BadRow and SkippedRow."""
        if not is_text(key):
            raise BadRow("has a name that is not UTF-8: rename it", ENTRY_BAD_ID)
        if sidecar is None:
            return reader.read({}, key, known)
        row = sidecar.row(key)
        if row is None:
            return reader.without_row(str(self._mapping.file), key, known)
        return reader.read(row, key, known)

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


def _no_image(suffix: str) -> str:
    if suffix in _NOT_READ:
        return f"{suffix}: {_NOT_READ[suffix]}"
    named = f"{suffix} is" if suffix else "a name without an ending is"
    return f"{named} no name of an image: if it is one, rename it"


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


def _glob(pattern: str) -> Callable[[str], bool]:
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
