"""What the resource types describe and no version does yet.

A field listed here is refused wherever resources are checked, with the version in which
it comes: a person must never wait for something that nobody does. Whoever builds one removes its
row. The rows become rules like any other (see rules).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NEXT_VERSION = "0.2.0"
"""The minor release that follows the one in pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """A field that nothing acts on."""

    on: type[Any]
    field: str
    """In snake case."""
    told: str
    """What the message calls it."""
    instead: str
    """What to write, in the imperative."""

    @property
    def name(self) -> str:
        return f"{self.on.__name__.removesuffix('Spec').lower()}-{self.field}-is-built"

    @property
    def message(self) -> str:
        return f"{self.told} comes with version {NEXT_VERSION}: {self.instead}"

    @property
    def cel(self) -> str:
        alias = self.on.model_fields[self.field].alias or self.field
        return f"!has(self.{alias})"

    def holds(self, part: Any) -> bool:
        return getattr(part, self.field) is None


UNBUILT: tuple[Unbuilt, ...] = ()
