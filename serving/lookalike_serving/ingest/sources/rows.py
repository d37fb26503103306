"""From a row of a table to a document's id and metadata.

One room applies the mapping and the two policies: what becomes of an image without a row, and of
one with a value that does not fit. The id is no matter of policy, since nothing can be left out
of it: an image whose id cannot be told is a failure of that one image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lookalike_crds.failures import ENTRY_BAD_ID, ENTRY_BAD_METADATA, FailureKind
from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.progress import ByCause
from lookalike_crds.sources import MetadataMapping, OnMisfit
from lookalike_serving.documents.ids import BadDocumentId, checked
from lookalike_serving.documents.metadata import MetadataChecker, Misfit, shown
from lookalike_serving.ingest.pictured import EXIF, over
from lookalike_serving.ingest.sources.cells import Reading, place_of, value_of
from lookalike_serving.ingest.sources.file_facts import NOTHING, OFF_PATTERN, Known, names_id
from lookalike_serving.ingest.sources.protocol import Caution
from lookalike_serving.ingest.sources.tables import Table

_ABSENT = object()


class BadRow(Exception):
    """The row cannot describe a document. `kind`: its row in the table of failures."""

    def __init__(self, message: str, kind: FailureKind = ENTRY_BAD_METADATA) -> None:
        super().__init__(message)
        self.kind = kind


class SkippedRow(Exception):
    """The image is to be left out, as the mapping says."""

    def __init__(self, caution: Caution) -> None:
        super().__init__(caution.cause)
        self.caution = caution


@dataclass(frozen=True, slots=True)
class Described:
    """What a row says of its image."""

    document_id: str
    metadata: dict[str, Any]
    cautions: tuple[Caution, ...] = ()
    own: frozenset[str] = frozenset()
    """Keys of the metadata that say more than what the object is labelled with."""


def columns_of(mapping: MetadataMapping, key_column: str) -> set[str] | None:
    """The columns that a mapping reads; None for all."""
    if not mapping.columns:
        return None
    places = (column for each in mapping.geo.values() for column in (each.lat, each.lon))
    named = {key_column, *mapping.columns.values(), mapping.document_id or key_column, *places}
    return named | {column.partition(".")[0] for column in named}


def reading_of(table: Table, mapping: MetadataMapping) -> Reading:
    """How its cells are read. Raises SourceError."""
    formats = mapping.date_format
    if table.format != "Csv":
        return Reading(date_formats=formats)
    return Reading(True, table.dialect.decimal_comma, formats)


class RowReader:
    """Applies one MetadataMapping. `key_column` is the column that names the image."""

    def __init__(
        self,
        mapping: MetadataMapping,
        fields: tuple[FieldSpec, ...],
        key_column: str,
        reading: Reading,
    ) -> None:
        self._mapping = mapping
        self._reading = reading
        self._checker = MetadataChecker(fields)
        self._types = {field.name: field.type for field in fields}
        self._nested = [
            (field.name.split("."), field.type) for field in fields if "." in field.name
        ]
        places = {column for each in mapping.geo.values() for column in (each.lat, each.lon)}
        self._not_metadata = {key_column, mapping.document_id, *places}
        self._unseen = set(mapping.columns.values()) | places
        self._rows = 0

    def read(self, row: Mapping[str, Any], key: str, known: Known = NOTHING) -> Described:
        """What a row says of the image `key`. Raises BadRow and SkippedRow."""
        self._rows += 1
        document_id = self._document_id(row, key, known)
        metadata, misfits, own = self._metadata(row, known)
        checked, more = self._checker.fitting(metadata)
        cautions = self._off_the_pattern(known)
        # An empty cell is no value: nothing is lost with a column that cannot be a key.
        lacking = [each for each in (*misfits, *more) if each.value not in (None, "", [])]
        return Described(document_id, checked, (*cautions, *self._judged(lacking)), own)

    def without_row(self, file: str, key: str, known: Known = NOTHING) -> Described:
        """An image `key` that the metadata file has no row for. Raises BadRow and SkippedRow."""
        cause = f"{file} has no row for it"
        policy = self._mapping.on_missing_row
        if policy is OnMisfit.SKIP:
            raise SkippedRow(Caution(f"left out, as metadata.onMissingRow says: {cause}"))
        if policy is OnMisfit.FAIL:
            raise BadRow(f"{cause}: add one")
        if self._mapping.document_id is not None and self._mapping.document_id not in known.parts:
            raise BadRow(f"{cause}, which would tell its document id: add one", ENTRY_BAD_ID)
        metadata, bad, own = self._metadata({}, known, columns={})
        checked, more = self._checker.fitting(metadata)
        missing = Caution(f"{cause}: it has no metadata of its own")
        cautions = (missing, *self._off_the_pattern(known), *self._judged([*bad, *more]))
        return Described(self._document_id({}, key, known), checked, cautions, own)

    def labelled(
        self, metadata: dict[str, Any], own: Collection[str], labels: Mapping[str, str]
    ) -> tuple[dict[str, Any], tuple[Caution, ...]]:
        """Metadata with the labels of its object, which replace all but the keys in `own`, and what
        of them was left out. Raises BadRow and SkippedRow."""
        text = Reading(date_formats=self._mapping.date_format)
        said: dict[str, Any] = {}
        misfits: list[Misfit] = []
        for name, label in labels.items():
            value = value_of(label, None if "." in name else self._types.get(name), text)
            if value is not None and (misfit := _put(said, name, value)):
                misfits.append(misfit)
        for path, kind in self._nested:
            _retype(said, path, kind, text)
        fitting, more = self._checker.checked(said)
        lower = {key: value for key, value in fitting.items() if key not in own}
        upper = {key: value for key, value in metadata.items() if key in own or key not in lower}
        checked, excess = self._checker.fitting(over(upper, lower))
        return checked, self._judged([*misfits, *more, *excess])

    def unseen(self) -> list[str]:
        """Columns that the mapping names and no row had. Of no rows, none."""
        return sorted(self._unseen) if self._rows else []

    def _document_id(self, row: Mapping[str, Any], key: str, known: Known) -> str:
        column = self._mapping.document_id
        if column is None:
            return self._checked_id(key)
        found = self._cell(row, column)
        if found is _ABSENT or found is None or found == "":
            if column in known.parts:
                return self._checked_id(known.parts[column])
            if names_id(self._mapping):
                told = f"{OFF_PATTERN}, which would tell its document id: rename it"
                raise BadRow(told, ENTRY_BAD_ID)
            raise BadRow(f"column {column!r}, the document id, is empty", ENTRY_BAD_ID)
        return self._checked_id(str(found))

    @staticmethod
    def _checked_id(document_id: str) -> str:
        try:
            return checked(document_id)
        except BadDocumentId as bad:
            raise BadRow(f"its document id {bad}", ENTRY_BAD_ID) from None

    def _metadata(
        self, row: Mapping[str, Any], known: Known, columns: Mapping[str, str] | None = None
    ) -> tuple[dict[str, Any], list[Misfit], frozenset[str]]:
        """Typed as far as it can be, what found no place, and the keys that the row or the file
        itself has told. `columns`: the mapping's if None."""
        mapping, reading = self._mapping, self._reading
        metadata: dict[str, Any] = {}
        misfits: list[Misfit] = []
        for name, constant in mapping.constants.items():
            _put(metadata, name, constant)
        for name, part in known.parts.items():
            if name != mapping.document_id:
                text = Reading(date_formats=mapping.date_format)
                _put(metadata, name, value_of(part, self._types.get(name), text))
        own = {*known.facts, *mapping.geo, *((EXIF,) if mapping.exif else ())}
        if columns is None:
            columns = mapping.columns or {c: c for c in row if c not in self._not_metadata}
        for name, column in columns.items():
            cell = self._cell(row, column)
            if cell is _ABSENT:
                if mapping.on_bad_value is OnMisfit.FAIL:
                    told = ", ".join(map(str, row))
                    raise BadRow(f"there is no column {column!r} (columns: {told})")
                continue
            # Of nested fields below, once they are all in their place.
            kind = None if "." in name else self._types.get(name)
            value = value_of(cell, kind, reading)
            if value is None and (name in mapping.constants or name in known.parts):
                continue  # what is known otherwise stands in for null
            if value is not None:
                own.add(str(name).partition(".")[0])
            if misfit := _put(metadata, str(name), value):
                misfits.append(misfit)
        for name, place in mapping.geo.items():
            lat, lon = self._cell(row, place.lat), self._cell(row, place.lon)
            at = place_of(None if lat is _ABSENT else lat, None if lon is _ABSENT else lon, reading)
            if misfit := _put(metadata, name, at):
                misfits.append(misfit)
        for path, kind in self._nested:
            _retype(metadata, path, kind, reading)
        return over(metadata, known.facts), misfits, frozenset(own)

    def _cell(self, row: Mapping[str, Any], column: str) -> Any:
        """What a row has in a column, which `camera.make` of a nested object is, too."""
        found: Any = row.get(column, _ABSENT)
        if found is _ABSENT and "." in column:
            found = row
            for name in column.split("."):
                found = found.get(name, _ABSENT) if isinstance(found, Mapping) else _ABSENT
        if found is not _ABSENT:
            self._unseen.discard(column)
        return found

    def _off_the_pattern(self, known: Known) -> tuple[Caution, ...]:
        """What is to be told of a path that the pattern does not fit. Raises as `_judged` does."""
        if known.matches:
            return ()
        policy = self._mapping.on_bad_value
        if policy is OnMisfit.FAIL:
            raise BadRow(f"{OFF_PATTERN}: rename it, or correct the pattern")
        if policy is OnMisfit.SKIP:
            told = f"left out, as metadata.onBadValue says: {OFF_PATTERN}"
            raise SkippedRow(Caution(told))
        return (Caution(f"without metadata of its path: {OFF_PATTERN}"),)

    def _judged(self, misfits: list[Misfit]) -> tuple[Caution, ...]:
        """What is to be told of them. Raises BadRow and SkippedRow."""
        if not misfits:
            return ()
        policy = self._mapping.on_bad_value
        if policy is OnMisfit.FAIL:
            raise BadRow("; ".join(f"metadata.{each.key}: {each.message}" for each in misfits))
        if policy is OnMisfit.SKIP:
            first = misfits[0]
            cause = f"left out, as metadata.onBadValue says: {first.key!r:.140} {_why(first)}"
            raise SkippedRow(Caution(cause, shown(first.value)))
        return tuple(
            Caution(f"without {each.key!r:.140}, which {_why(each)}", shown(each.value))
            for each in misfits
        )


def unseen_columns(source: str, reader: RowReader) -> Iterator[ByCause]:
    """What to tell of columns that a mapping names and no row had."""
    for column in reader.unseen():
        cause = f"no row has the column {column!r} that metadata names: correct it"
        yield ByCause(cause=cause, of="file", source=source, example=column)


def _why(misfit: Misfit) -> str:
    verbs = ("does ", "is ", "holds ", "has ", "cannot ")
    return misfit.why if misfit.why.startswith(verbs) else f"cannot be stored: {misfit.why}"


def _put(metadata: dict[str, Any], name: str, value: Any) -> Misfit | None:
    """Set `camera.make` within the object `camera`; what kept it from that."""
    if "." not in name:
        before = metadata.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            value = {**value, **before}  # a column camera.make came before the object
        metadata[name] = value
        return None
    *outer, last = name.split(".")
    if not all((*outer, last)):
        return Misfit(name, value, "is no key: write names joined by single dots")
    if value is None:
        return None  # no value needs no object around it
    inner = metadata
    for each in outer:
        below = inner.setdefault(each, {})
        if below is None:
            below = inner[each] = {}
        if not isinstance(below, dict):
            return Misfit(name, value, f"is a key of {each!r}, which is no object: rename one")
        inner = below
    inner[last] = value
    return None


def _retype(metadata: dict[str, Any], path: list[str], kind: FieldType, reading: Reading) -> None:
    """Read the cell of a nested field as its type."""
    inner: Any = metadata
    for name in path[:-1]:
        inner = inner.get(name) if isinstance(inner, dict) else None
    if isinstance(inner, dict) and path[-1] in inner:
        inner[path[-1]] = value_of(inner[path[-1]], kind, reading)
