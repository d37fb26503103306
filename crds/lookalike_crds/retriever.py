"""`Retriever`: a search endpoint over collections."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from lookalike_crds.base import FieldName, Name, Spec


class Fusion(StrEnum):
    """How scores of several collections become one list."""

    WEIGHTED = "Weighted"  # weight x score; right where the collections share a model
    RRF = "RRF"  # reciprocal rank fusion (Cormack et al. 2009, k = 60); right across models


class CollectionRef(Spec):
    name: Name
    weight: float = Field(default=1.0, gt=0, le=100)


class DiversityStage(Spec):
    """Maximal marginal relevance (Carbonell & Goldstein 1998): relevance against sameness."""

    type: Literal["Diversity"] = "Diversity"
    trade_off: float = Field(
        default=0.7, ge=0, le=1, description="1: relevance alone; 0: difference alone."
    )


class BoostStage(Spec):
    """Adds `weight` to the score of documents whose `field` equals `value`."""

    type: Literal["Boost"] = "Boost"
    field: FieldName
    value: str | int | float | bool
    weight: float = Field(ge=-10, le=10)


Stage = Annotated[DiversityStage | BoostStage, Field(discriminator="type")]


class SearchSpec(Spec):
    top_k: int = Field(default=10, ge=1, le=1000)
    min_score: float | None = None
    fusion: Fusion = Fusion.WEIGHTED
    stages: tuple[Stage, ...] = Field(default=(), max_length=16)


class RetrieverSpec(Spec):
    collections: tuple[CollectionRef, ...] = Field(min_length=1, max_length=16)
    search: SearchSpec = SearchSpec()
