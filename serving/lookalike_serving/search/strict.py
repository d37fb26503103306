"""The base class of requests."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of a request: unknown keys are errors, numbers are numbers."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
