"""What values must look like, as far as a schema can say it: for the description of the API alone.

They are checked where they are read, with errors that say what to do instead. What is not here
depends on more than the request: that an image can be decoded, that a vector has the model's
dimension, that a multipart's JSON names its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path

from lookalike_crds.names import LABEL, SERVICE
from lookalike_serving.documents.ids import DOCUMENT_ID
from lookalike_serving.index.filters import Operator
from lookalike_serving.search.filters import KEY_PATTERN, MAX_KEY, MAX_TEXT, MAX_VALUES

Shape = dict[str, Any]

POINT_CURSOR: Shape = {"pattern": "^[A-Za-z0-9_-]{21}[AQgw]$"}
"""See cursors.py."""
POSITION_CURSOR: Shape = {"pattern": "^[0-9]{1,9}$"}

_BIGGEST = 2**63 - 1
_SCALAR: Shape = {
    "anyOf": [
        {"type": "string", "maxLength": MAX_TEXT},
        {"type": "number", "minimum": -_BIGGEST, "maximum": _BIGGEST},
        {"type": "boolean"},
    ]
}
_PLACE: Shape = {
    "type": "object",
    "additionalProperties": False,
    "required": ["lat", "lon"],
    "properties": {
        "lat": {"type": "number", "minimum": -90, "maximum": 90},
        "lon": {"type": "number", "minimum": -180, "maximum": 180},
    },
}
_SCALARS: Shape = {"type": "array", "minItems": 1, "maxItems": MAX_VALUES, "items": _SCALAR}
_BOUND: Shape = {
    "anyOf": [_SCALAR["anyOf"][1], {"type": "string", "format": "date-time"}],
}
_TEXT: Shape = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
_VALUES: Mapping[Operator, Shape] = {
    Operator.EQ: {"anyOf": [*_SCALAR["anyOf"], {"type": "null"}]},
    Operator.NE: {"anyOf": [*_SCALAR["anyOf"], {"type": "null"}]},
    Operator.GT: _BOUND,
    Operator.GTE: _BOUND,
    Operator.LT: _BOUND,
    Operator.LTE: _BOUND,
    Operator.IN: _SCALARS,
    Operator.NIN: _SCALARS,
    Operator.CONTAINS: _SCALAR,
    Operator.STARTS_WITH: _TEXT,
    Operator.TEXT: {**_TEXT, "description": "One word or more."},
    Operator.EXISTS: {"type": "boolean"},
    Operator.IS_NULL: {"type": "boolean"},
    Operator.GEO_RADIUS: {
        **_PLACE,
        "required": ["lat", "lon", "radius_m"],
        "properties": {
            **_PLACE["properties"],
            "radius_m": {"type": "number", "exclusiveMinimum": 0, "maximum": 20_100_000},
        },
    },
    Operator.GEO_BOX: {
        "type": "object",
        "additionalProperties": False,
        "required": ["top_left", "bottom_right"],
        "properties": {"top_left": _PLACE, "bottom_right": _PLACE},
    },
}
_KEY: Shape = {
    "type": "string",
    "maxLength": MAX_KEY,
    "pattern": KEY_PATTERN,
}
_COMBINATORS = ("AND", "OR", "NOT")
FILTERS_MODEL = "Filters"
_FILTERS: Shape = {"x-ref": FILTERS_MODEL}
FILTERS: Shape = {
    "title": FILTERS_MODEL,
    "description": "A condition; or `{field: value}`, `{field: [one, of, these]}` and `{field: "
    "{operator: value}}`, all of which are to hold; or AND, OR and NOT over lists of filters.",
    "type": "object",
    "anyOf": [
        *(
            {
                "title": operator.value,
                "type": "object",
                "additionalProperties": False,
                "required": ["key", "operator", "value"],
                "properties": {
                    "key": _KEY,
                    "operator": {"const": operator.value},
                    "value": value,
                },
            }
            for operator, value in _VALUES.items()
        ),
        {
            "title": "Combined",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {
                each: {"type": "array", "minItems": 1, "items": _FILTERS} for each in _COMBINATORS
            },
        },
        {
            "title": "Fields",
            "type": "object",
            "minProperties": 1,
            "propertyNames": {
                **_KEY,
                "not": {"enum": ["key", "field", "operator", *_COMBINATORS]},
            },
            "additionalProperties": {
                "anyOf": [
                    *_VALUES[Operator.EQ]["anyOf"],
                    _SCALARS,
                    {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": False,
                        "properties": {each.value: value for each, value in _VALUES.items()},
                    },
                ]
            },
        },
    ],
}
"""See search/filters.py. Names of operators and combinators may be written in any case."""
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
