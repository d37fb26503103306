"""The format of a request for facets and of its answer.

As in request.py, the models of the answer document the API; the answer itself consists of plain
dicts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
)

from lookalike_serving.search.strict import Strict

MAX_FACETS = 20
MAX_LIMIT = 1000
MAX_BUCKETS = 100
MAX_RANGES = 50
DEFAULT_LIMIT = 10
DEFAULT_BUCKETS = 20

_Text = Annotated[str, StringConstraints(max_length=4096)]
_Integer = Annotated[
    StrictInt,
    # JSON has no other 204 than 204.0.
    BeforeValidator(lambda v: int(v) if isinstance(v, float) and v.is_integer() else v),
    Field(ge=-(2**63), lt=2**63),
]
_Finite = Annotated[StrictFloat, Field(allow_inf_nan=False)]
_Width = Annotated[StrictInt | _Finite, Field(gt=0, le=1e300)]
Bound = _Integer | _Finite | _Text


class FacetType(StrEnum):
    TERMS = "terms"
    RANGE = "range"
    HISTOGRAM = "histogram"
    DATE_HISTOGRAM = "date_histogram"


class DateInterval(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class FacetRange(Strict):
    """From `from`, included, up to `to`, not included; without one of them open on that side."""

    from_: Bound | None = Field(default=None, alias="from")
    to: Bound | None = None


class FacetField(Strict):
    """One field to count by."""

    field: str = Field(min_length=1, max_length=256, description="A declared field's name.")
    type: FacetType | None = Field(
        default=None,
        description="terms: the most frequent values of a Keyword, Integer or Bool field. "
        "histogram: equally wide buckets of an Integer or Float field. date_histogram: calendar "
        "intervals, in UTC, of a Datetime field. range: the given ranges of an Integer, Float or "
        "Datetime field. Where left out: terms; histogram of a Float and date_histogram of a "
        "Datetime field.",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=MAX_LIMIT,
        description=f"terms: how many values to return. Default: {DEFAULT_LIMIT}.",
    )
    contains: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="terms: only values that contain this text, ignoring case.",
    )
    include: list[StrictBool | _Integer | _Text] | None = Field(
        default=None,
        max_length=100,
        description="terms: values that are returned in any case, after the most frequent ones.",
    )
    ranges: list[FacetRange] | None = Field(
        default=None, min_length=1, max_length=MAX_RANGES, description="range: the ranges."
    )
    buckets: int | None = Field(
        default=None,
        ge=2,
        le=MAX_BUCKETS,
        description="histogram, date_histogram: the largest number of buckets, whose width is "
        f"then chosen. Default: {DEFAULT_BUCKETS}.",
    )
    interval: DateInterval | _Width | None = Field(
        default=None,
        description="Instead of buckets. histogram: the width of each bucket. date_histogram: "
        "hour, day, week, month, quarter or year.",
    )
    missing: bool = Field(
        default=False, description="Also count the documents without a value: no key, null, or []."
    )


class FacetsRequest(Strict):
    """How many documents there are, and how many of each value, under filters."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "filters": {"status": "active", "price": {"lt": 20}},
                    "fields": [
                        {"field": "status"},
                        {"field": "maker", "limit": 25, "contains": "smith", "missing": True},
                        {"field": "price", "type": "histogram", "buckets": 12},
                        {
                            "field": "price",
                            "type": "range",
                            "ranges": [{"to": 10}, {"from": 10, "to": 50}, {"from": 50}],
                        },
                        {"field": "added", "type": "date_histogram", "interval": "month"},
                    ],
                }
            ]
        },
    )

    filters: Any = Field(
        default=None,
        description="Filters as in a search. A facet ignores the parts of the outermost AND "
        "that name only its own field, so that a choice does not empty the other "
        "values of its field.",
        json_schema_extra={"anyOf": [{"x-ref": "Filters"}, {"type": "null"}]},
    )
    fields: list[FacetField] = Field(
        default_factory=list, max_length=MAX_FACETS, description="Without any: the total alone."
    )


class ValueCount(BaseModel):
    value: str | int | bool
    count: int = Field(
        description="The number of documents that have it; of a list, each element counts."
    )


class Bucket(BaseModel):
    from_: int | float | str | None = Field(alias="from", description="Included.")
    to: int | float | str | None = Field(description="Not included; null: open.")
    count: int


class Facet(BaseModel):
    """One facet's counts, in the order in which they were asked for."""

    field: str
    type: FacetType
    exact: bool = Field(
        description="False if the counts are estimates – of a large histogram without a filter, or "
        "while a server optimises – or if a field has more values than are read, so that a "
        "frequent one may not be among those told."
    )
    values: list[ValueCount] | None = Field(default=None, description="terms: most frequent first.")
    distinct: int | None = Field(
        default=None,
        description="terms: the number of different values; null if there are more than are read.",
    )
    buckets: list[Bucket] | None = Field(
        default=None, description="The other types: in order, empty ones among them."
    )
    min: int | float | str | None = None
    max: int | float | str | None = None
    interval: int | float | str | None = Field(default=None, description="The buckets' width.")
    missing: int | None = Field(default=None, description="Where asked for.")


class FacetsResponse(BaseModel):
    total: int = Field(description="The exact number of documents that match all filters.")
    facets: list[Facet]
    took_ms: float
    warnings: list[str]
