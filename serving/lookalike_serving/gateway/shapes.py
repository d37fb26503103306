"""What values must look like, as far as a schema can say it; only for the description of the API.

Values are checked where they are read, with errors that say what to do instead. What is missing
here depends on more than the request: that an image can be decoded, that a vector has the dimension
of the model, that the JSON of a multipart body names its files.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from lookalike_crds.names import LABEL, SERVICE
from lookalike_serving.documents.ids import DOCUMENT_ID
from lookalike_serving.index.filters.equality import SCALAR_OR_NULL, SCALARS
from lookalike_serving.index.filters.operators import OPERATORS
from lookalike_serving.index.filters.parse import COMBINATORS
from lookalike_serving.index.filters.values import KEY, Shape


def _cursor(pattern: str) -> Any:
    return Query(
        max_length=512,
        description="`next_cursor` of the previous page.",
        json_schema_extra={"pattern": pattern},
    )


PointCursor = Annotated[str | None, _cursor("^[A-Za-z0-9_-]{21}[AQgw]$")]
"""See cursors.py."""
PositionCursor = Annotated[str | None, _cursor("^[0-9]{1,9}$")]

FILTERS_MODEL = "Filters"
_FILTERS: Shape = {"x-ref": FILTERS_MODEL}
FILTERS: Shape = {
    "title": FILTERS_MODEL,
    "description": "A condition; or `{field: value}`, `{field: [one, of, these]}` and `{field: "
    "{operator: value}}`, all of which must match; or AND, OR and NOT over lists "
    "of filters.",
    "type": "object",
    "anyOf": [
        *(
            {
                "title": name,
                "type": "object",
                "additionalProperties": False,
                "required": ["key", "operator", "value"],
                "properties": {
                    "key": KEY,
                    "operator": {"const": name},
                    "value": operator.shape,
                },
            }
            for name, operator in OPERATORS.items()
        ),
        {
            "title": "Combined",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {
                each: {"type": "array", "minItems": 1, "items": _FILTERS} for each in COMBINATORS
            },
        },
        {
            "title": "Fields",
            "type": "object",
            "minProperties": 1,
            "propertyNames": {
                **KEY,
                "not": {"enum": ["key", "field", "operator", *COMBINATORS]},
            },
            "additionalProperties": {
                "anyOf": [
                    *SCALAR_OR_NULL["anyOf"],
                    SCALARS,
                    {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": False,
                        "properties": {name: each.shape for name, each in OPERATORS.items()},
                    },
                ]
            },
        },
    ],
}
"""See filters/parse.py. Names of operators and combinators may be written in any case."""
JSON_FILTERS: Shape = {"contentMediaType": "application/json", "contentSchema": _FILTERS}

CollectionName = Annotated[
    str, Path(json_schema_extra={"maxLength": LABEL.longest, "pattern": LABEL.pattern})
]
RetrieverName = Annotated[
    str, Path(json_schema_extra={"maxLength": SERVICE.longest, "pattern": SERVICE.pattern})
]
DocumentIdInPath = Annotated[str, Path(json_schema_extra=DOCUMENT_ID)]
BatchId = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


def form(parts: Shape, *required: str) -> Shape:
    """A multipart body of these parts and no others. Parts that are objects are JSON."""
    shape: Shape = {"type": "object", "additionalProperties": False, "properties": parts}
    return {**shape, "required": list(required)} if required else {**shape, "minProperties": 1}
