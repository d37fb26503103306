"""contains, starts_with, text: parts of a text, and members of a list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from lookalike_crds.image_collection import FieldType
from lookalike_serving.index.filters.conditions import C, Conditions
from lookalike_serving.index.filters.equality import equal, no_moment, read_scalar
from lookalike_serving.index.filters.tree import Predicate
from lookalike_serving.index.filters.values import (
    MAX_TEXT,
    TEXT,
    Scalar,
    Shape,
    WrongFilter,
    is_text,
    shown,
)

WORDS: Shape = {**TEXT, "description": "One word or more."}

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


@dataclass(frozen=True, slots=True)
class Contains(Predicate):
    """A substring of a text, or a member of a list."""

    served_by: ClassVar = frozenset({FieldType.KEYWORD})

    value: Scalar

    def written(self) -> tuple[str, Any]:
        return "contains", self.value

    def misfit(self, field_type: FieldType) -> str | None:
        return no_moment(field_type, self.value)

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        elements = f"{self.path}[]"
        member = equal(on, elements, self.value, field_type)
        # Points in time are no texts, so they have no parts.
        if not isinstance(self.value, str) or field_type is FieldType.DATETIME:
            return member
        # A substring condition looks into list elements too; `key[]` has elements only in a list.
        member_or_no_list = on.any_of([member, on.is_empty(elements)])
        return on.all_of([on.contains(self.path, self.value), member_or_no_list])


@dataclass(frozen=True, slots=True)
class StartsWith(Predicate):
    served_by: ClassVar = frozenset({FieldType.KEYWORD})

    prefix: str

    def written(self) -> tuple[str, Any]:
        return "starts_with", self.prefix

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        return on.starts_with(self.path, self.prefix)


@dataclass(frozen=True, slots=True)
class HasWords(Predicate):
    """Every word of `text` occurs, in any order."""

    served_by: ClassVar = frozenset({FieldType.TEXT})

    text: str

    def written(self) -> tuple[str, Any]:
        return "text", self.text

    def compiled(self, on: Conditions[C], field_type: FieldType | None) -> C:
        # Engines know words by what is between them. In scripts that have nothing there, a word
        # is found as a part of the text.
        words = _WORD.findall(self.text)
        parts = [on.contains(self.path, word) for word in words if _UNSPACED.search(word)]
        if spaced := " ".join(word for word in words if not _UNSPACED.search(word)):
            parts.append(on.has_words(self.path, spaced))
        return parts[0] if len(parts) == 1 else on.all_of(parts)


def read_contains(key: str, value: Any) -> Contains:
    """Raises WrongFilter."""
    return Contains(key, read_scalar("contains", value))


def read_prefix(key: str, value: Any) -> StartsWith:
    """Raises WrongFilter."""
    return StartsWith(key, _read_text("starts_with", value))


def read_words(key: str, value: Any) -> HasWords:
    """Raises WrongFilter."""
    text = _read_text("text", value)
    if not _WORD.search(text):
        raise WrongFilter(
            f"text searches for words, and {shown(value)} contains none: write at least one"
        )
    return HasWords(key, text)


def _read_text(operator: str, value: Any) -> str:
    if isinstance(value, str) and value and is_text(value):
        return value
    raise WrongFilter(
        f"{operator} takes a string of 1 to {MAX_TEXT} characters, not {shown(value)}"
    )
