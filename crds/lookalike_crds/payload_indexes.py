"""How each type of field is indexed on a Qdrant server, for all who make such an index.

Ingestion and serving make them with the collection; the operator makes those that are missing.
"""

from __future__ import annotations

from typing import Any

from lookalike_crds.image_collection import FieldType

RESERVED = "_lookalike"
"""Key of a payload that is ours; all others are the document's metadata."""

_PARAMETERS: dict[FieldType, dict[str, Any]] = {
    FieldType.KEYWORD: {"prefix": True},  # for starts_with
    FieldType.TEXT: {"tokenizer": "multilingual", "lowercase": True},  # for Chinese, Japanese, Thai
}


def field_schema(field_type: FieldType) -> dict[str, Any] | str:
    """`field_schema` of Qdrant's REST API: a type by name, or with parameters."""
    name = field_type.value.lower()
    parameters = _PARAMETERS.get(field_type)
    return name if parameters is None else {"type": name, **parameters}
