"""The re-ranking stages that a Retriever, or a search request, may list.

A stage is declared once, here: its fields, their bounds and what they mean. The custom resource
spells the fields in camel case; `as_requested` gives the same declaration in the snake case of
requests. What a stage does is in one class of lookalike_serving.search.stages. A new stage is
another class here, a member of `Stage`, and a file there.
"""

from __future__ import annotations

from functools import cache
from types import new_class
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import ConfigDict, Field

from lookalike_crds.base import Spec
from lookalike_crds.names import FieldName


class StageSpec(Spec):
    """What every stage has: a type, which is its name."""

    type: str


class DiversityStage(StageSpec):
    """Prefers results that are relevant and unlike each other (maximal marginal relevance)."""

    type: Literal["Diversity"] = "Diversity"
    trade_off: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="The balance between relevance (1) and difference from the other results (0).",
    )


class BoostStage(StageSpec):
    """Adds to the score of documents with a given metadata value."""

    type: Literal["Boost"] = "Boost"
    field: FieldName = Field(description="The metadata key to compare.")
    value: str | int | float | bool = Field(description="The value that the key must have.")
    weight: float = Field(
        ge=-10,
        le=10,
        description="The number that is added to the score. It may be negative.",
    )


Stage = Annotated[DiversityStage | BoostStage, Field(discriminator="type")]

STAGES: tuple[type[StageSpec], ...] = get_args(get_args(Stage)[0])


def name_of(stage: type[StageSpec]) -> str:
    """Its type as resources and requests write it, such as `Boost`."""
    (name,) = get_args(stage.model_fields["type"].annotation)
    return str(name)


@cache
def as_requested(stage: type[StageSpec]) -> type[StageSpec]:
    """The stage as a request spells it: fields in snake case, and the type always written.

    What it makes is an instance of `stage`, too.
    """
    members: dict[str, Any] = {
        "__module__": stage.__module__,
        "__doc__": stage.__doc__,
        "__annotations__": {"type": stage.model_fields["type"].annotation},
        "model_config": ConfigDict(alias_generator=lambda name: name),
    }
    made = new_class(stage.__name__, (stage,), exec_body=lambda own: own.update(members))
    return cast(type[StageSpec], made)
