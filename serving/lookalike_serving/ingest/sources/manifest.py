"""Images that a manifest lists, by address or by path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import stat
import unicodedata
from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from urllib.parse import urljoin

from lookalike_crds.buckets import object_address, plain_address, written
from lookalike_crds.failures import ENTRY_WITHOUT_IMAGE
from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.progress import ByCause
from lookalike_crds.source_kinds import UrlsSource
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.images import ImageError, Reader
from lookalike_serving.images.reader import is_remote
from lookalike_serving.ingest.sources.named import MOST, Named, hashed
from lookalike_serving.ingest.sources.opening import Opening
from lookalike_serving.ingest.sources.protocol import (
    Entry,
    Gone,
    Item,
    LeftOut,
    Rejected,
    Seen,
    Skipped,
    SourceError,
    legible,
)
from lookalike_serving.ingest.sources.rows import (
    BadRow,
    RowReader,
    SkippedRow,
    columns_of,
    reading_of,
    unseen_columns,
)
from lookalike_serving.ingest.sources.tables import Table, Unreadable, format_of


def open_manifest(spec: UrlsSource, opening: Opening) -> ManifestSource:
    return ManifestSource(
        opening.name, spec, opening.mapping, opening.fields, opening.reader, opening.scratch
    )


class ManifestSource:
    """Rows of a table, one an image: `url_column` holds its address, the rest is metadata.

    Relative entries are relative to the manifest: files beside a local one, addresses beside one
    that came from the network (which never names files).

    An entry that is not found to be an address or a file of the folder is reported by the number of
    its row, never by its text: a manifest may be pointed at any file that the process can read.

    Its keys are the manifest itself, as the source names it, and the plain addresses of objects.
    """

    def __init__(
        self,
        name: str,
        spec: UrlsSource,
        mapping: MetadataMapping,
        fields: tuple[FieldSpec, ...],
        reader: Reader,
        scratch: Path,
    ) -> None:
        self.name = name
        self.skipped = Skipped()
        self.named: Named | None = None
        """What rows name, once `look` has gone through them; None if it cannot be told later
        whether the manifest is still the same."""
        self._spec = spec
        self._mapping = mapping
        self._fields = fields
        self._reader = reader
        self._scratch = scratch

    def goes_through_all(self, key: str) -> bool:
        return True

    def key_of(self, uri: str) -> str | None:
        return plain_address(uri)

    async def still_named(self, named: Named, keys: Sequence[str]) -> bool:
        """Whether `named` still says which of these keys rows name. One request, or none.

        Raises SourceError.
        """
        return self._spec.manifest not in keys and named.version == await self._version()

    async def look(self, keys: Iterable[str]) -> Sequence[Seen]:
        """Which objects rows name. The objects themselves are not looked at."""
        wanted = dict.fromkeys(keys)
        manifest = self._spec.manifest
        if manifest in wanted:
            return [Seen(manifest, "?", [], tells_of_all=True)]
        rows: dict[str, list[Entry]] = {}
        version = await self._version()
        hashes = array("Q")
        async for entry in self.list():
            uri = None if isinstance(entry, ByCause) else entry.uri
            key = None if uri is None else plain_address(uri)
            if key is None:
                continue
            if version is not None and len(hashes) <= MOST:
                hashes.append(hashed(key))
            if key in wanted:
                rows.setdefault(key, []).append(entry)
        if version is not None and len(hashes) <= MOST:
            self.named = Named.of(version, hashes)
        return [Seen(key, "?" if key in rows else None, rows.get(key, [])) for key in wanted]

    async def entries(self, seen: Iterable[Seen]) -> AsyncIterator[Entry | Gone]:
        for each in seen:
            for entry in each.found:
                yield entry

    async def list(self) -> AsyncIterator[Entry]:
        spec = self._spec
        remote = is_remote(spec.manifest)
        format_ = format_of(spec.manifest.split("?")[0], spec.format)
        path = await self._fetched() if remote else Path(spec.manifest)
        columns = columns_of(self._mapping, spec.url_column)
        table = Table(path, format_, text_column=spec.url_column, columns=columns)
        reader = RowReader(
            self._mapping, self._fields, spec.url_column, reading_of(table, self._mapping)
        )
        for number, row in enumerate(table, 1):
            if isinstance(row, Unreadable):
                yield Rejected(row.place, row.cause, hides=True)
                continue
            entry = row.get(spec.url_column)
            if not isinstance(entry, str) or not entry.strip():
                yield Rejected(
                    f"row {number}",
                    f"has no {spec.url_column!r}, the column of the image's address: set urlColumn",
                    kind=ENTRY_WITHOUT_IMAGE,
                    hides=True,
                )
                continue
            key = entry.strip()
            try:
                uri, version = self._locate(key, remote, path)
            except BadRow as bad:
                # The address may come from a file that nobody meant to be a manifest: not repeated.
                image = self._image(key, remote, path)
                yield Rejected(f"row {number}", str(bad), image, ENTRY_WITHOUT_IMAGE)
                continue
            try:
                described = reader.read(row, key)
            except SkippedRow as skipped:
                caution = skipped.caution
                self.skipped.add(caution.cause, caution.example(key))
                yield LeftOut(uri)
                continue
            except BadRow as bad:
                yield Rejected(legible(key), str(bad), uri, bad.kind)
                continue
            yield Item(
                legible(key),
                described.document_id,
                uri,
                version,
                described.metadata,
                self._mapping.exif,
                described.cautions,
            )
        for note in table.notes:
            yield ByCause(cause=note, of="file", source=self.name, example="the manifest")
        for warning in unseen_columns(self.name, reader):
            yield warning

    def _locate(self, entry: str, remote: bool, manifest: Path) -> tuple[str, str | None]:
        """(uri, version). Raises BadRow."""
        if is_remote(entry):
            return entry, None
        if "://" in entry:
            raise BadRow("is neither a path nor an https:// address")
        if remote:
            try:
                return _joined(self._spec.address, entry), None
            except ValueError:
                raise BadRow("is not an address: check for typing errors") from None
        path, state = _found(manifest.parent, entry)
        if not stat.S_ISREG(state.st_mode):
            raise BadRow("is no file but a folder, pipe, socket or device: leave it out")
        return path.as_uri(), f"{state.st_size}-{state.st_mtime_ns}"

    @staticmethod
    def _image(entry: str, remote: bool, manifest: Path) -> str | None:
        """What a document of an entry that leads nowhere now has as its image, if it has one."""
        if remote or "://" in entry:
            return None
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            return (manifest.parent / entry).resolve().as_uri()
        return None

    async def _version(self) -> str | None:
        """Changes when the manifest does; None if that cannot be told without reading it.

        Raises SourceError.
        """
        try:
            if is_remote(self._spec.manifest):
                return await self._reader.version(self._spec.address)
            state = await asyncio.to_thread(os.stat, self._spec.manifest)
        except ImageError as error:
            raise SourceError(f"source {self.name}: the manifest: {error}") from None
        except OSError:
            return None  # whoever reads it says why
        return f"{state.st_ino}-{state.st_size}-{state.st_mtime_ns}"

    async def _fetched(self) -> Path:
        try:
            table = await self._reader.read(self._spec.address)
        except ImageError as error:
            raise SourceError(f"source {self.name}: the manifest: {error}") from None
        path = self._scratch / f"{self.name}.manifest"
        path.write_bytes(table)
        return path


def _joined(manifest: str, entry: str) -> str:
    """The address of an entry that is relative to its manifest. Raises ValueError."""
    found = object_address(manifest)
    if found is None:
        return urljoin(manifest, entry)
    # Keys are any text, of which `urljoin` would take `?` and `#` for more than that.
    key = posixpath.normpath(posixpath.join("/", posixpath.dirname(found.key), entry)).lstrip("/")
    return written(found.scheme, found.authority, key)


def _found(folder: Path, entry: str) -> tuple[Path, os.stat_result]:
    """A file by its name, however the letters of either are composed. Raises BadRow.

    What lies outside of the folder is refused whether it exists or not.
    """
    spellings = [entry, *(unicodedata.normalize(form, entry) for form in ("NFC", "NFD"))]
    failure: Exception | None = None
    for spelling in dict.fromkeys(spellings):
        try:
            path = (folder / spelling).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise BadRow(f"leads out of the manifest's folder {folder}")
            return path, path.stat()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a NUL
            failure = failure or error
    if isinstance(failure, OSError):
        raise BadRow(f"cannot be read: {failure.strerror or failure}")
    if isinstance(failure, RuntimeError):
        raise BadRow("cannot be read: it is a link that leads to itself")
    raise BadRow("cannot be the name of a file: it holds a NUL or half of a surrogate pair")
