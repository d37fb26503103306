"""Images that a manifest lists, by address or by path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.sources import MetadataMapping, UrlsSource
from lookalike_serving.images import ImageError, ImageFetcher
from lookalike_serving.ingest.sources.protocol import Item, Rejected, SourceError
from lookalike_serving.ingest.sources.rows import BadRow, RowReader
from lookalike_serving.ingest.sources.tables import format_of, rows


class ManifestSource:
    """Rows of a table, one an image: `url_column` holds its address, the rest is metadata.

    Relative entries are relative to the manifest: files beside a local one, addresses beside one
    that came from the network (which never names files).

    An entry that is not found to be an address or a file of the folder is told by the number of its
    row, never by its text: a manifest may be pointed at any file that the process can read.
    """

    def __init__(
        self,
        name: str,
        spec: UrlsSource,
        mapping: MetadataMapping,
        fields: tuple[FieldSpec, ...],
        fetcher: ImageFetcher,
        scratch: Path,
    ) -> None:
        self.name = name
        self.skipped = 0
        self._spec = spec
        self._reader = RowReader(mapping, fields, spec.url_column)
        self._fetcher = fetcher
        self._scratch = scratch

    async def list(self) -> AsyncIterator[Item | Rejected]:
        spec = self._spec
        remote = spec.manifest.startswith(("https://", "http://"))
        format_ = format_of(spec.manifest.split("?")[0], spec.format)
        path = await self._fetched() if remote else Path(spec.manifest)
        for number, row in enumerate(rows(path, format_, text_column=spec.url_column), 1):
            entry = row.get(spec.url_column)
            if not isinstance(entry, str) or not entry.strip():
                yield Rejected(
                    f"row {number}",
                    f"has no {spec.url_column!r}, the column of the image's address: set urlColumn",
                )
                continue
            key = entry.strip()
            try:
                uri, version = self._locate(key, remote, path)
            except BadRow as bad:
                yield Rejected(f"row {number}", str(bad))
                continue
            try:
                document_id, metadata = self._reader.read(row, key)
            except BadRow as bad:
                yield Rejected(key, str(bad))
                continue
            yield Item(key, document_id, uri, version, metadata)

    def _locate(self, entry: str, remote: bool, manifest: Path) -> tuple[str, str | None]:
        """(uri, version). Raises BadRow."""
        if entry.startswith(("https://", "http://")):
            return entry, None
        if "://" in entry:
            raise BadRow("is neither a path nor an https:// address")
        if remote:
            return urljoin(self._spec.manifest, entry), None
        try:
            path = (manifest.parent / entry).resolve()
        except (OSError, ValueError):  # a loop of links; a NUL
            raise BadRow("names no file") from None
        if not path.is_relative_to(manifest.parent.resolve()):
            raise BadRow(f"leads out of the manifest's folder {manifest.parent}")
        try:
            stat = path.stat()
        except OSError as error:
            raise BadRow(f"names a file that cannot be read: {error.strerror}") from None
        if not path.is_file():
            raise BadRow("names a folder, not a file")
        return path.as_uri(), f"{stat.st_size}-{stat.st_mtime_ns}"

    async def _fetched(self) -> Path:
        try:
            fetched = await self._fetcher.fetch(self._spec.manifest)
        except ImageError as error:
            raise SourceError(f"source {self.name}: the manifest: {error}") from None
        path = self._scratch / f"{self.name}.manifest"
        path.write_bytes(fetched.data)
        return path
