"""Images in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.sources import MetadataMapping
from lookalike_crds.sources import VolumeSource as VolumeSpec
from lookalike_serving.ingest.sources.protocol import Item, Rejected, SourceError
from lookalike_serving.ingest.sources.rows import BadRow, RowReader
from lookalike_serving.ingest.sources.sidecar import Sidecar

IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .avif .heic".split()
)


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
        self.skipped = 0
        self._root = Path(spec.path)
        self._matches = _glob(spec.glob)
        self._mapping = mapping
        self._fields = fields
        self._scratch = scratch

    async def list(self) -> AsyncIterator[Item | Rejected]:
        if not self._root.is_dir():
            raise SourceError(
                f"source {self.name}: {self._root} is not a folder: correct volume.path, or make it"
            )
        root = self._root.resolve()
        reader = RowReader(self._mapping, self._fields, self._mapping.key_column)
        sidecar = None
        if self._mapping.file is not None:
            path = root / self._mapping.file
            sidecar = Sidecar(path, self._mapping, self._scratch / f"{self.name}.sqlite")
        for entry in self._walk(root, root):
            path = Path(entry.path)
            key = path.relative_to(root).as_posix()
            if not self._matches(key) or (sidecar is not None and path == sidecar.path):
                continue
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                self.skipped += 1
                continue
            try:
                row = sidecar.row(key) if sidecar is not None else {}
                if row is None:
                    raise BadRow(f"{self._mapping.file} has no row for it: add one")
                document_id, metadata = reader.read(row, key)
                stat = entry.stat()
            except BadRow as bad:
                yield Rejected(key, str(bad))
                continue
            except OSError as error:
                yield Rejected(key, f"cannot be read: {error.strerror or error}")
                continue
            version = f"{stat.st_size}-{stat.st_mtime_ns}"
            yield Item(key, document_id, path.as_uri(), version, metadata)

    def _walk(self, folder: Path, root: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda e: e.name)
        except OSError as error:
            raise SourceError(
                f"source {self.name}: {folder} cannot be read: {error.strerror or error}"
            ) from None
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path), root)
            elif entry.is_file():
                yield entry


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
