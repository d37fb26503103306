"""What every resource type shares: naming on the wire, strictness, immutability."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from lookalike_crds import cron
from lookalike_crds.amounts import AMOUNT
from lookalike_crds.names import DataKey, ObjectName

GROUP = "lookalike.dev"
VERSION = "v1alpha1"
API_VERSION: Literal["lookalike.dev/v1alpha1"] = "lookalike.dev/v1alpha1"


class Spec(BaseModel):
    """A part of a resource: camelCase in YAML, snake_case here, frozen, unknown keys refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
    )


class SecretKeyRef(Spec):
    """A key of a Secret in the resource's namespace."""

    name: ObjectName = Field(description="The name of the Secret.")
    key: DataKey = Field(description="The key within the Secret.")


class ConfigMapKeyRef(Spec):
    """One key of a ConfigMap in the resource's namespace."""

    name: ObjectName = Field(description="The name of the ConfigMap.")
    key: DataKey = Field(description="The key within the ConfigMap.")


ResourceName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
"""Such as `cpu` or `nvidia.com/gpu`."""
Quantity = Annotated[str, Field(min_length=1, max_length=128, pattern=AMOUNT)]
"""An amount such as `500m` or `2Gi`."""
Schedule = Annotated[str, Field(max_length=128, pattern=cron.PATTERN), AfterValidator(cron.checked)]
"""A cron expression."""


class Status(BaseModel):
    """A part of a status: written by the operator, read by anyone; unknown keys are left alone."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
    )


class Condition(Status):
    """A condition as Kubernetes writes them (metav1.Condition)."""

    type: str = Field(min_length=1, max_length=316, description="The type of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    observed_generation: int | None = Field(
        default=None,
        ge=0,
        description="The generation of the spec that this condition was observed for.",
    )
    last_transition_time: str = Field(max_length=64, description="RFC 3339.")
    reason: str = Field(
        min_length=1, max_length=1024, description="The reason in one CamelCase word."
    )
    message: str = Field(
        max_length=32768, description="What was observed, and what to do about it."
    )


def without_defaults(value: BaseModel) -> dict[str, Any]:
    """As JSON, without what is at its default: an older image does not know every field.

    What tells the types of a union apart stays.
    """
    document: dict[str, Any] = value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    _tell_types(value, document)
    return document


def _tell_types(value: Any, document: Any) -> None:
    """Add `type` of every stage to what is written of it."""
    if isinstance(value, BaseModel) and isinstance(document, dict):
        if isinstance(kind := getattr(value, "type", None), str) and _is_constant(value, "type"):
            document["type"] = kind
        for name, field in type(value).model_fields.items():
            written = document.get(field.serialization_alias or field.alias or name)
            _tell_types(getattr(value, name), written)
    elif isinstance(value, list | tuple) and isinstance(document, list):
        for one, other in zip(value, document, strict=True):
            _tell_types(one, other)


def _is_constant(value: BaseModel, name: str) -> bool:
    return get_origin(type(value).model_fields[name].annotation) is Literal
