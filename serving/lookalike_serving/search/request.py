"""The format of a search request and of its answer.

Unknown keys are refused with a hint, so that `topk` never silently means the default. The models of
the answer document the API; the search path itself encodes plain dicts (see gateway/responses.py),
since validating our own output a second time would cost more than the index query.
"""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Union

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from lookalike_crds.min_score import MinScore
from lookalike_crds.stages import STAGES, StageSpec, as_requested, name_of
from lookalike_serving.index.filters.operators import OPERATORS
from lookalike_serving.index.filters.values import KEY_PATTERN, MAX_KEY
from lookalike_serving.search.facet_request import MAX_FACETS, Facet, FacetField
from lookalike_serving.search.strict import Strict

MAX_TOP_K = 1000
MAX_QUERIES = 16
MAX_VECTOR = 65_536
PART_PREFIX = "part:"


class QueryType(StrEnum):
    IMAGE = "image"
    TEXT = "text"
    VECTOR = "vector"
    DOCUMENT = "document"


class Mode(StrEnum):
    SIMILAR = "similar"
    COPIES = "copies"


class QueryPart(Strict):
    """One thing to look for. Several are combined by their weights."""

    type: QueryType
    value: str | list[float] | None = Field(
        default=None,
        description="image: https URL, data URL, base64, or `part:<name>` of a multipart request. "
        "text: what the picture shows. vector: numbers of the model's dimension, or base64 of them "
        "as little-endian float32. "
        "document: the id of a stored document.",
    )
    weight: float = Field(
        default=1.0,
        ge=-100,
        le=100,
        allow_inf_nan=False,
        description="Relative to the other queries; negative means “but not this”.",
    )
    embedding_model: str | None = Field(
        default=None,
        max_length=256,
        description="Checked against the model of the collection. Images and texts are always "
        "embedded with the collection's model; a vector of another model is "
        "refused.",
    )
    collection: str | None = Field(
        default=None,
        max_length=63,
        description="document: the collection that contains it, if several contain the id.",
    )

    @model_validator(mode="after")
    def _numbers_of_base64(self) -> QueryPart:
        """A text that is no base64 of numbers stays, and is refused where vectors are checked."""
        if self.type is QueryType.VECTOR and isinstance(self.value, str):
            try:
                data = base64.b64decode(self.value, validate=True)
                self.value = np.frombuffer(data, "<f4").tolist()
            except ValueError:
                pass
        return self


_STAGE_NAMES = {name_of(stage).lower(): name_of(stage) for stage in STAGES}


def _named(value: Any) -> Any:
    """A stage with its type as it is declared: requests may write it in small letters."""
    if isinstance(value, dict) and isinstance(said := value.get("type"), str):
        return {**value, "type": _STAGE_NAMES.get(said.lower(), said)}
    return value


if TYPE_CHECKING:
    RequestedStage = StageSpec
else:
    RequestedStage = Annotated[
        Union[tuple(as_requested(stage) for stage in STAGES)],  # noqa: UP007 - made of a list
        Field(discriminator="type"),
        BeforeValidator(_named),
    ]

_INCLUDE = (
    r"""^(metadata(\.[^.\[\]"'\\\x00-\x1f\x7f-\x9f]{1,128})*"""
    r"|image_url|thumbnail_url|vector|distance|collection|query_document)$"
)

Include = Annotated[str, StringConstraints(pattern=_INCLUDE, max_length=160)]

DEFAULT_INCLUDE = ("metadata", "image_url", "thumbnail_url", "collection", "distance")


class SearchRequest(Strict):
    """A search: what to look for, among which documents, and what to tell about them."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            # What `mode: copies` takes (copies.py).
            "anyOf": [
                {"properties": {"mode": {"const": "similar"}}},
                {
                    "properties": {
                        "queries": {
                            "maxItems": 1,
                            "items": {"properties": {"type": {"const": "image"}}},
                        },
                        "rerank": {"type": "null"},
                        "group_by": {"type": "null"},
                        "facets": {"type": "null"},
                        "min_score": {"type": ["number", "null"]},
                        "include": {"items": {"not": {"const": "vector"}}},
                        "exact": {"const": False},
                        "explain": {"const": False},
                    }
                },
            ],
            "examples": [
                {
                    "queries": [{"type": "text", "value": "red striped mug"}],
                    "filters": {"AND": [{"key": "status", "operator": "eq", "value": "active"}]},
                    "top_k": 25,
                    "min_score": 0.2,
                },
                {
                    "queries": [
                        {"type": "image", "value": "https://example.com/reference.jpg"},
                        {"type": "text", "value": "in blue", "weight": 0.5},
                        {"type": "text", "value": "striped", "weight": -0.3},
                    ],
                    "filters": {"status": "active", "price": {"gte": 10, "lt": 20}},
                },
                {
                    "queries": [{"type": "document", "value": "mug-0042"}],
                    "rerank": [{"type": "Diversity", "trade_off": 0.6}],
                    "group_by": "maker",
                    "include": ["metadata.price", "image_url"],
                    "explain": True,
                },
            ],
        },
    )

    queries: list[QueryPart] = Field(min_length=1, max_length=MAX_QUERIES)
    mode: Mode = Field(
        default=Mode.SIMILAR,
        description="similar: what looks like the queries. copies: only documents that are the "
        "picture of the one image query, or a copy of it, with the evidence and the region that "
        "both show; the score is the confidence. With copies, rerank, group_by, facets, exact and "
        "explain are refused, and the retriever's defaults for re-ranking and min_score do not "
        "apply.",
    )
    filters: Any = Field(
        default=None,
        description="Nested `{AND|OR|NOT: [{key, operator, value}]}`, or `{field: value}`, or "
        f"`{{field: {{operator: value}}}}`. Operators: {' '.join(OPERATORS)}.",
        json_schema_extra={
            "anyOf": [
                {"x-ref": "Filters"},
                {"type": "object", "maxProperties": 0},
                {"type": "null"},
            ]
        },
    )
    top_k: int | None = Field(
        default=None,
        ge=1,
        le=MAX_TOP_K,
        description="Number of results. Default: that of the retriever.",
    )
    min_score: MinScore | None = Field(
        default=None,
        description="Leaves out what scores less. A number, or auto: the threshold for this kind "
        "of query that `lookalike calibrate --save` found. Default: that of the retriever.",
    )
    rerank: list[RequestedStage] | None = Field(
        default=None,
        max_length=16,
        description="Re-ranking stages that replace those of the retriever, in order; [] for none.",
    )
    group_by: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_KEY,
        json_schema_extra={"pattern": KEY_PATTERN},
        description="Keep only the best document of each value of this metadata key. Documents "
        "without the key are all kept; of a list, the first value counts.",
    )
    include: list[Include] | None = Field(
        default=None,
        max_length=128,
        description="What each result contains in addition to id and score: metadata, "
        "metadata.KEY, image_url, thumbnail_url, vector, distance, collection. "
        "`query_document` keeps the document that was searched with among the "
        "results.",
    )
    facets: list[FacetField] | None = Field(
        default=None,
        max_length=MAX_FACETS,
        description="Also count all documents that match the filters, not only the results, by "
        "these fields, and return their total; scores have no influence. See "
        "/v1/retrievers/{retriever}/facets.",
    )
    exact: bool = Field(
        default=False,
        description="Compare the query with every vector instead of using the approximate index: "
        "slow, to measure what the index misses.",
    )
    explain: bool = Field(
        default=False, description="Explain for each result how its score was computed."
    )


class StageTime(BaseModel):
    name: str
    ms: float


class Contribution(BaseModel):
    """What one query added to a result's similarity."""

    query: int = Field(description="Index into `queries`.")
    type: QueryType
    weight: float
    similarity: float = Field(description="The score of this query alone.")
    contribution: float = Field(
        description="Its contribution to the score of the index; the "
        "contributions add up to that score."
    )


class ScoreStep(BaseModel):
    """The score after one step of the pipeline."""

    stage: str
    score: float
    rank: int


class Explanation(BaseModel):
    contributions: list[Contribution]
    steps: list[ScoreStep]


class SearchResult(BaseModel):
    document_id: str
    score: float = Field(description="A higher score is better, for every distance.")
    distance: float | None = Field(
        default=None, description="The Euclidean distance, if the collection uses it."
    )
    collection: str | None = None
    metadata: dict[str, Any] | None = None
    image_url: str | None = None
    thumbnail_url: str | None = None
    vector: list[float] | None = None
    verdict: str | None = Field(
        default=None, description="With mode copies: exact, if the pixels are the same, or copy."
    )
    evidence: dict[str, Any] | None = Field(
        default=None,
        description="With mode copies: what the verdict rests on, as "
        "/v1/collections/{collection}/duplicates returns it.",
    )
    explanation: Explanation | None = None


class SearchResponse(BaseModel):
    results: list[SearchResult]
    took_ms: float
    stages: list[StageTime]
    warnings: list[str]
    min_score: float | None = Field(
        default=None, description="The score below which results were left out, if there is one."
    )
    total: int | None = Field(
        default=None,
        description="If facets are requested: the number of documents that match the filters, "
        "whatever their score.",
    )
    facets: list[Facet] | None = Field(default=None, description="Where they are asked for.")
