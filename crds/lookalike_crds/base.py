"""What every resource type shares: naming on the wire, strictness, immutability."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "lookalike.dev"
VERSION = "v1alpha1"
API_VERSION: Literal["lookalike.dev/v1alpha1"] = "lookalike.dev/v1alpha1"

Name = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
"""A Kubernetes object name that is also a DNS label."""

FieldName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A metadata key. A leading underscore is reserved for Lookalike's own payload."""


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
    """One key of a Secret in the resource's namespace."""

    name: Name = Field(description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="Key within the Secret.")
