"""How fields are indexed: what all who make such an index, or look at one, agree on.

Ingestion and serving make the indexes of fields with the collection; on a Qdrant server the
operator makes those that are missing. An index holds only values of its field's type. So a field
that is declared with another type loses those of before from every filter, until they are written
again: an index remembers the types that its fields have had.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lookalike_crds.image_collection import FieldSpec, FieldType

RESERVED = "_lookalike"
"""Key of a payload that is ours; all others are the document's metadata."""

_UNQUOTABLE = re.compile(r"""["\\\x00-\x1f\x7f-\x9f]""")
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9_-]+(\[\d*\])*")


def json_path(key: str) -> str:
    """`key` in the engines' JSON-path syntax: segments of other characters are quoted.

    Payload indexes are made, found and asked for by it. Raises ValueError for what is no path.
    """
    segments = []
    for segment in key.split("."):
        if _PLAIN_SEGMENT.fullmatch(segment):
            segments.append(segment)
        elif segment and not _UNQUOTABLE.search(segment):
            segments.append(f'"{segment}"')
        else:
            raise ValueError(
                f"filter key {key!r} is no path: write metadata keys joined by single dots"
            )
    return ".".join(segments)


def key_of(path: str) -> str:
    """The metadata key that a JSON path of an engine names. No key holds a quote."""
    return path.replace('"', "")


_PARAMETERS: dict[FieldType, dict[str, Any]] = {
    FieldType.KEYWORD: {"prefix": True},  # for starts_with
    # Not "multilingual", which leaves numbers out: "size 42" would find size 43.
    FieldType.TEXT: {"tokenizer": "word", "lowercase": True},
}


def field_schema(field_type: FieldType) -> dict[str, Any] | str:
    """`field_schema` of Qdrant's REST API: a type by name, or with parameters."""
    name = field_type.value.lower()
    parameters = _PARAMETERS.get(field_type)
    return name if parameters is None else {"type": name, **parameters}


TYPES = "types"
FORMER_TYPES = "former_types"
"""What an index remembers: field -> its type, and field -> those that it had before."""


def remembered(
    fields: Iterable[FieldSpec],
    types: Mapping[str, str],
    former: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """What an index is to remember once it is opened with `fields`, given what it remembered.

    A field that is no longer declared is not forgotten: it may come back with another type.
    """
    types, kept = dict(types), {name: list(each) for name, each in former.items()}
    for field in fields:
        before = types.get(field.name)
        types[field.name] = field.type.value
        if before not in (None, field.type.value) and before not in kept.get(field.name, ()):
            kept.setdefault(field.name, []).append(str(before))
    return {TYPES: types, FORMER_TYPES: kept}


def former_types(
    fields: Iterable[FieldSpec], former: Mapping[str, Sequence[str]]
) -> dict[FieldSpec, tuple[str, ...]]:
    """Of the fields that have had another type: these types."""
    told = {
        field: tuple(type for type in former.get(field.name, ()) if type != field.type.value)
        for field in fields
    }
    return {field: types for field, types in told.items() if types}


def retyped(field: FieldSpec, former: Sequence[str], documents: int) -> str:
    """What to know of a field whose type was changed over `documents` with values of before."""
    held = "1 document holds" if documents == 1 else f"{documents:,} documents hold"
    return (
        f"field {field.name} is {field.type.value} and was {' and '.join(former)}: {held} values "
        f"that are no {field.type.value}, and no filter on it finds them: ingest again, or write "
        "those documents again, or set the type back"
    )
