"""From a row of a table to a document's id and metadata.

Tables that are text (CSV) say numbers and truth values as text: they are read as the collection's
`fields` say. What does not fit is an error of that one image, naming column and value.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.document_ids import BadDocumentId, checked
from lookalike_serving.metadata import checked_metadata
from lookalike_serving.problems import Problem

_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}


class BadRow(Exception):
    """The row cannot describe a document."""


class RowReader:
    """Applies one MetadataMapping. `key_column` is the column that names the image."""

    def __init__(
        self, mapping: MetadataMapping, fields: tuple[FieldSpec, ...], key_column: str
    ) -> None:
        self._mapping = mapping
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
            value = self._value(row[column], self._types.get(name))
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

    @staticmethod
    def _value(value: Any, kind: FieldType | None) -> Any:
        value = _plain(value)
        if not isinstance(value, str) or kind is None:
            return value
        text = value.strip()
        if text == "" and kind not in {FieldType.KEYWORD, FieldType.TEXT}:
            return None
        try:
            match kind:
                case FieldType.INTEGER:
                    return int(text)
                case FieldType.FLOAT:
                    return float(text)
                case FieldType.BOOL if text.lower() in _TRUE | _FALSE:
                    return text.lower() in _TRUE
                case _:
                    return value
        except ValueError:
            return value  # the check against `fields` names column and value


def _plain(value: Any) -> Any:
    """A table's times and decimals as JSON has them, at any depth."""
    match value:
        case datetime.datetime() | datetime.date():
            return value.isoformat().replace("+00:00", "Z")
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case list() | tuple():
            return [_plain(each) for each in value]
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case _:
            return value
