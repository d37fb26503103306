"""What the resource types describe and no version does yet.

A value or field listed here is refused wherever resources are checked, with the version in which
it comes: a person must never wait for something that nobody does. Whoever builds one removes its
row. The rows become rules like any other (see rules).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lookalike_crds.image_collection import ImageCollectionSpec, ModelSpec, Provider

NEXT_VERSION = "0.2.0"
"""The minor release that follows the one in pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """One value of a field, or the field as a whole."""

    on: type[Any]
    field: str
    """In snake case."""
    told: str
    """What the message calls it, such as `model.provider Onnx`."""
    instead: str
    """What to write, in the imperative."""
    value: str | None = None
    """None: whatever is written."""

    @property
    def name(self) -> str:
        words = (self.on.__name__.removesuffix("Spec"), self.field, self.value)
        return "-".join(word.lower() for word in words if word) + "-is-built"

    @property
    def whole(self) -> bool:
        """Whether the field is refused whatever its value."""
        return self.value is None

    @property
    def message(self) -> str:
        return f"{self.told} comes with version {NEXT_VERSION}: {self.instead}"

    @property
    def cel(self) -> str:
        alias = self.on.model_fields[self.field].alias or self.field
        absent = f"!has(self.{alias})"
        if self.value is not None:
            return f"{absent} || self.{alias} != '{self.value}'"
        return absent

    def holds(self, part: Any) -> bool:
        given = getattr(part, self.field)
        return given is None or (self.value is not None and bool(given != self.value))


UNBUILT: tuple[Unbuilt, ...] = (
    Unbuilt(
        ModelSpec,
        "provider",
        "model.provider Onnx",
        "write another provider, such as Plugin, which runs a Python class of yours",
        value=Provider.ONNX.value,
    ),
    Unbuilt(
        ImageCollectionSpec,
        "duplicates",
        "duplicates",
        "remove it",
    ),
)


def unbuilt(part: Any) -> Iterator[Unbuilt]:
    """The rows that one part of a spec asks for."""
    return (row for row in UNBUILT if isinstance(part, row.on) and not row.holds(part))
