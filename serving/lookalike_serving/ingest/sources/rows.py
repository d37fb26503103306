"""From a row of a table to a document's id and metadata.

Tables that are text (CSV) say numbers and truth values as text: they are read as the collection's
`fields` say. What does not fit is an error of that one image, naming column and value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lookalike_crds.image_collection import FieldSpec
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.document_ids import BadDocumentId, checked
from lookalike_serving.ingest.sources.cells import Reading, value_of
from lookalike_serving.ingest.sources.tables import Table
from lookalike_serving.metadata import checked_metadata
from lookalike_serving.problems import Problem


class BadRow(Exception):
    """The row cannot describe a document."""


def columns_of(mapping: MetadataMapping, key_column: str) -> set[str] | None:
    """The columns that a mapping reads; None for all."""
    if not mapping.columns:
        return None
    return {key_column, *mapping.columns.values(), mapping.document_id or key_column}


def reading_of(table: Table) -> Reading:
    """How its cells are read. Raises SourceError."""
    if table.format != "Csv":
        return Reading()
    return Reading(all_text=True, decimal_comma=table.dialect.decimal_comma)


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
        self._fields = fields
        self._types = {field.name: field.type for field in fields}
        self._not_metadata = {key_column, mapping.document_id}

    def read(self, row: Mapping[str, Any], key: str) -> tuple[str, dict[str, Any]]:
        """(document id, metadata) of the image `key`. Raises BadRow."""
        mapping = self._mapping
        columns = mapping.columns or {c: c for c in row if c not in self._not_metadata}
        metadata: dict[str, Any] = dict(mapping.constants)
        for name, column in columns.items():
            if column not in row:
                raise BadRow(f"there is no column {column!r} (columns: {', '.join(map(str, row))})")
            value = value_of(row[column], self._types.get(name), self._reading)
            if value is not None or name not in metadata:  # a constant stands in for null
                metadata[str(name)] = value
        document_id = key
        if mapping.document_id is not None:
            found = row.get(mapping.document_id)
            if found is None or found == "":
                raise BadRow(f"column {mapping.document_id!r}, the document id, is empty")
            document_id = str(found)
        try:
            document_id = checked(document_id)
        except BadDocumentId as bad:
            raise BadRow(f"its document id {bad}") from None
        try:
            return document_id, checked_metadata(metadata, self._fields)
        except Problem as problem:
            said = "; ".join(f"{w.path}: {w.message}" for w in problem.errors) or problem.detail
            raise BadRow(said) from None
