"""From the files of a source to entries of a run: which are images, and what is said of them.

Folders and buckets differ in how they are listed and in nothing else: names are matched, rows of a
metadata file are joined, and policies are applied here for both.
"""

from __future__ import annotations

import posixpath
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

from lookalike_crds.failures import ENTRY_BAD_ID, ENTRY_BAD_METADATA
from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.progress import ByCause
from lookalike_crds.sources import MetadataMapping, OnMisfit
from lookalike_serving.documents.ids import canonical
from lookalike_serving.images.buckets import LabelKinds
from lookalike_serving.images.members import Cell, cell_address, member_address
from lookalike_serving.ingest.sources import archives, contents
from lookalike_serving.ingest.sources.cells import Reading
from lookalike_serving.ingest.sources.contents import Broken, Inside, WithoutImages
from lookalike_serving.ingest.sources.csv_rows import is_text
from lookalike_serving.ingest.sources.file_facts import FileFacts, Known
from lookalike_serving.ingest.sources.file_names import IMAGE_SUFFIXES, glob_of, no_image
from lookalike_serving.ingest.sources.protocol import (
    Gone,
    Item,
    Labels,
    LeftOut,
    Rejected,
    Skipped,
    legible,
)
from lookalike_serving.ingest.sources.rows import (
    BadRow,
    Described,
    RowReader,
    SkippedRow,
    columns_of,
    unseen_columns,
)
from lookalike_serving.ingest.sources.sidecar import Sidecar
from lookalike_serving.parquet import BadRow as BadCells
from lookalike_serving.parquet import ImageRow

_NO_IMAGE_COLUMN = "a Parquet file without a column of bytes holds no images: leave it out of glob"


SIDECAR = ".json"


class Files:
    """The files of one listing. `table`: where the metadata file lies on this machine, if the
    mapping names one."""

    def __init__(
        self,
        source: str,
        glob: str,
        mapping: MetadataMapping,
        fields: tuple[FieldSpec, ...],
        skipped: Skipped,
        table: Path | None,
        scratch: Path,
        image_column: str | None = None,
        *,
        archives: bool = False,
    ) -> None:
        """Reads the metadata file. Raises SourceError.

        `image_column`: the column of Parquet files that holds images; None: it is found.
        `archives`: whether images within files are read.
        """
        self._archives = archives
        self._source = source
        self._matches = glob_of(canonical(glob))
        self._mapping = mapping
        self._skipped = skipped
        self._sidecar: Sidecar | None = None
        self._table: str | None = None
        reading = Reading()
        if table is not None:
            assert mapping.file is not None
            database = scratch / f"{source}.sqlite"
            database.unlink(missing_ok=True)
            self._sidecar = Sidecar(
                source,
                table,
                mapping,
                database,
                one_by_one=mapping.on_missing_row is OnMisfit.FAIL,
            )
            self._table = posixpath.normpath(mapping.file)
            reading = self._sidecar.reading
        self._reader = RowReader(mapping, fields, mapping.key_column, reading)
        self._facts = FileFacts(mapping)
        self._image_column = image_column

    def unreadable(self) -> Iterator[Rejected]:
        """Rows of the metadata file whose images are failures for it."""
        for bad in self._sidecar.unreadable if self._sidecar is not None else ():
            yield Rejected(f"{self._mapping.file} {bad.place}", bad.cause)

    def wants(self, key: str) -> bool:
        """Whether a file is an image by its path within the source. Others are counted."""
        if key == self._table:
            return False
        if self.is_image(key):
            return True
        if self._mapping.sidecars and key.endswith(SIDECAR):
            return False
        if self._matches(canonical(key)):
            self._skipped.add(no_image(_suffix(key)), key)
        if self._sidecar is not None and is_text(key):
            self._sidecar.pass_over(key)
        return False

    def sidecar_of(self, key: str) -> str | None:
        """Where the metadata of an image lies; None if the source has no such files."""
        if not self._mapping.sidecars or self.is_archive(key) or not self.is_image(key):
            return None
        return f"{posixpath.splitext(key)[0]}{SIDECAR}"

    def with_sidecar(
        self,
        key: str,
        uri: str,
        version: str,
        size: int,
        modified: float,
        data: bytes | None,
        labels: Mapping[str, str] | None = None,
    ) -> Item | Rejected | LeftOut:
        """What `entry` says of an image, with what is in its sidecar; None: it has none."""
        try:
            row = {} if data is None else archives.json_object(data)
        except ValueError as error:
            told = f"its metadata, {posixpath.basename(str(self.sidecar_of(key)))}, {error}"
            return Rejected(legible(key), told, uri, ENTRY_BAD_METADATA)
        return self.entry(key, uri, version, size, modified, row, labels=labels)

    def is_image(self, key: str) -> bool:
        """Whether a file is an image by its path, and `glob` chooses it."""
        return _suffix(key) in IMAGE_SUFFIXES and self._matches(canonical(key))

    def is_archive(self, key: str) -> bool:
        """Whether a file holds images that are read, and `glob` chooses it."""
        if not self._archives or key == self._table:
            return False
        if not key.endswith(contents.SUFFIXES):
            return False
        return self._matches(canonical(key))

    async def read(
        self, key: str, opened: Callable[[], BinaryIO]
    ) -> AsyncGenerator[Sequence[Inside], None]:
        """What is in a file that holds images. `opened` is called in a thread."""
        columns = columns_of(self._mapping, self._mapping.key_column)
        found = contents.contents(key, opened, self._image_column, columns)
        async with aclosing(found):
            async for some in found:
                yield some

    async def archive(
        self,
        key: str,
        uri: str,
        version: str,
        modified: float,
        inside: AsyncIterator[Sequence[Inside]],
    ) -> AsyncIterator[Item | Rejected | LeftOut]:
        """What becomes of the images in a file, of which `inside` is what `read` tells."""
        async for some in inside:
            for each in some:
                entry = self._inside(key, uri, version, modified, each)
                if entry is not None:
                    yield entry

    def _inside(
        self, key: str, uri: str, version: str, modified: float, each: Inside
    ) -> Item | Rejected | LeftOut | None:
        match each:
            case archives.Image(name, start, length):
                inner = f"{key}/{name}"
                at = member_address(uri, start, length, name)
                if each.problem is not None:
                    return Rejected(legible(inner), each.problem, at, ENTRY_BAD_METADATA)
                which = f"{version}/{start}-{length}"
                return self.entry(inner, at, which, length, each.modified, each.row)
            case ImageRow(group, row, column):
                at = cell_address(uri, Cell(group, row, column))
                which, inner = f"{version}/{group}:{row}", f"{key}/{group}/{row}"
                return self.entry(inner, at, which, None, modified, each.cells, path=key)
            case BadCells(place, cause):
                return Rejected(legible(f"{key} {place}"), cause, hides=True)
            case Broken(cause):
                return Rejected(legible(key), cause, hides=True)
            case archives.Other(name):
                suffix = posixpath.splitext(name)[1].lower()
                self._skipped.add(no_image(suffix), f"{key}/{name}")
            case WithoutImages():
                self._skipped.add(_NO_IMAGE_COLUMN, key)
        return None

    def entry(
        self,
        key: str,
        uri: str,
        version: str,
        size: int | None,
        modified: float,
        row: dict[str, Any] | None = None,
        *,
        path: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Item | Rejected | LeftOut:
        """What becomes of an image. `size`: bytes, if they are known; `modified`: seconds since
        1970; `row`: what came with it; `path`: of the file that tells of it, if that is not `key`;
        `labels`: of the object, if they are known.
        """
        try:
            known = self._facts.of(path or key, size, modified)
            described = self._described(key, known, row or {})
        except SkippedRow as skipped:
            caution = skipped.caution
            self._skipped.add(caution.cause, caution.example(key))
            return LeftOut(uri)
        except BadRow as bad_row:
            return Rejected(legible(key), str(bad_row), uri, bad_row.kind)
        return Item(
            legible(key),
            described.document_id,
            uri,
            version,
            described.metadata,
            self._mapping.exif,
            labels=self._labels(uri, modified, labels, described),
            cautions=described.cautions,
        )

    def _labels(
        self, uri: str, modified: float, told: Mapping[str, str] | None, described: Described
    ) -> Labels | None:
        """None if they are not asked for, and for what is within an archive."""
        kinds = label_kinds(self._mapping)
        if not kinds or "#" in uri:
            return None
        # To the second, as the answer to HEAD tells it.
        return Labels(kinds, f"{modified:.0f}", told, described.own)

    def gone(self, key: str, uri: str, *, folders: bool = False) -> Gone | None:
        """What is told of a file that is not there; None if it would be no image.

        `folders`: what would be no image may have been a folder.
        """
        if self.is_archive(key):
            return Gone(key, uri, below=f"{uri}#")
        if key == self._table:
            return None
        if not self.is_image(key):
            return Gone(key, uri, below=f"{uri}/") if folders else None
        try:
            described = self._described(key, self._facts.of(key, 0, 0.0), {})
        except (SkippedRow, BadRow):
            return Gone(key, uri)
        return Gone(key, uri, described.document_id)

    def leave_out(self, cause: str, key: str, uri: str) -> LeftOut:
        """An image that is there and cannot be read now, or is not wanted."""
        self._skipped.add(cause, key)
        if self._sidecar is not None:
            self._sidecar.pass_over(key)
        return LeftOut(uri)

    def warnings(self) -> Iterator[ByCause]:
        """What is to be told of the metadata file, once every file was gone through."""
        if self._sidecar is not None:
            yield from self._sidecar.warnings()
            yield from unseen_columns(self._source, self._reader)

    def _described(self, key: str, known: Known, beside: dict[str, Any]) -> Described:
        """What is said of a file. Raises BadRow and SkippedRow."""
        if not is_text(key):
            raise BadRow("has a name that is not UTF-8: rename it", ENTRY_BAD_ID)
        if self._sidecar is None:
            return self._reader.read(beside, key, known)
        row = self._sidecar.row(key)
        if row is None:
            return self._reader.without_row(str(self._mapping.file), key, known)
        return self._reader.read({**beside, **row}, key, known)


def label_kinds(mapping: MetadataMapping) -> LabelKinds:
    """The labels of objects that are metadata."""
    return LabelKinds(mapping.user_metadata, mapping.tags)


def _suffix(key: str) -> str:
    return posixpath.splitext(posixpath.basename(key))[1].lower()
