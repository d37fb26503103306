"""Judgments as `lookalike evaluate` reads them: queries, and the documents relevant for each.

One JSON object on each line: `{"text": "red mug", "relevant": ["mug-1"]}`, or `image` or `document`
instead of `text`; `relevant` may also be an object of ids with grades; `filters` are those of a
search.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lookalike_serving.index.filters.parse import parse_filters
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.problems import Problem

Kind = Literal["text", "image", "document"]
_KINDS: tuple[Kind, ...] = ("text", "image", "document")


class WrongJudgments(ValueError):
    """The file cannot be used; the message names it, the line and what is wrong."""


@dataclass(frozen=True, slots=True)
class Judgment:
    kind: Kind
    value: str
    """The text, the path or address of the image, or the id of the document."""
    relevant: frozenset[str]
    """Ids of documents."""
    filter: Filter | None = None


def read_judgments(file: Path) -> list[Judgment]:
    """Raises WrongJudgments."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise WrongJudgments(f"{file} cannot be read: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_judgment(json.loads(line), file.parent))
        except (ValueError, Problem) as error:
            told = "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            raise WrongJudgments(f"{file} line {number}: {told}") from None
    if not found:
        raise WrongJudgments(f"{file} has no judgments")
    return found


def _judgment(line: Any, folder: Path) -> Judgment:
    """Raises ValueError, Problem."""
    if not isinstance(line, dict):
        raise ValueError("it is no object")
    said = [kind for kind in _KINDS if isinstance(line.get(kind), str)]
    if len(said) != 1:
        raise ValueError(f"write one of {', '.join(_KINDS)}")
    relevant = line.get("relevant")
    if not isinstance(relevant, list | dict) or not relevant:
        raise ValueError("relevant is a list of document ids, or an object of ids with grades")
    value = str(line[said[0]])
    if said[0] == "image" and "://" not in value:
        value = str(folder / value)
    filter = parse_filters(line.get("filters"))
    return Judgment(said[0], value, frozenset(map(str, relevant)), filter)
