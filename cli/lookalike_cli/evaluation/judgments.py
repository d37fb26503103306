"""Judgments: queries, and the documents that are relevant for each.

A file has one JSON object on each line:

    {"text": "red mug", "relevant": ["mug-1", "mug-7"]}
    {"image": "photos/a.jpg", "relevant": {"mug-1": 3, "mug-7": 1}, "filters": {"status": "active"}}
    {"document": "mug-1", "relevant": ["mug-7"], "language": "en"}

`image` is an address, or a path relative to the file. `relevant` gives ids, or ids with grades
above 0. `filters` are those of the search; `language` only groups the figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike_cli.failure import ExitCode, Failure

_KINDS = ("text", "image", "document")
_KEYS = {*_KINDS, "relevant", "filters", "language"}
_EXAMPLE = '{"text": "red mug", "relevant": ["mug-1"]}'
_MOST_WRONG = 10


@dataclass(frozen=True, slots=True)
class Judgment:
    """One query with the documents that are relevant for it."""

    query: dict[str, Any]
    """As a search takes it: `{"type": …, "value": …}`."""
    relevant: dict[str, float]
    """Grades by document id."""
    filters: Any = None
    language: str | None = None
    same: tuple[str, Any] | None = None
    """The metadata field and value that make a document relevant, instead of its id."""
    total: int | None = None
    """How many documents are relevant, if it is more than are in `relevant`."""

    @property
    def shown(self) -> str:
        value = self.query["value"]
        return str(value) if self.query["type"] == "text" else f"{self.query['type']} {value}"


def read(file: Path) -> list[Judgment]:
    """The judgments of a file. Raises Failure that lists every wrong line."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise Failure(f"{file} cannot be read: {error}", ExitCode.USAGE) from None
    judgments, wrong = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            judgments.append(_judgment(json.loads(line), file.parent))
        except ValueError as error:
            told = "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            wrong.append(f"line {number}: {told}")
    if wrong:
        more = f"\n… and {len(wrong) - _MOST_WRONG} more" if len(wrong) > _MOST_WRONG else ""
        raise Failure(f"{file}:\n" + "\n".join(wrong[:_MOST_WRONG]) + more, ExitCode.USAGE)
    if not judgments:
        raise Failure(f"{file} has no judgments: write lines such as {_EXAMPLE}", ExitCode.USAGE)
    return judgments


def _judgment(line: Any, folder: Path) -> Judgment:
    """Raises ValueError."""
    if not isinstance(line, dict):
        raise ValueError(f"write an object, such as {_EXAMPLE}")
    if strange := sorted(line.keys() - _KEYS):
        raise ValueError(f"unknown key {strange[0]!r}; there are {', '.join(sorted(_KEYS))}")
    said = [kind for kind in _KINDS if kind in line]
    if len(said) != 1:
        raise ValueError(f"write one of {', '.join(_KINDS)}")
    kind, value = said[0], line[said[0]]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{kind} is a text that is not empty")
    if kind == "image" and "://" not in value:
        if not (folder / value).is_file():
            raise ValueError(f"there is no file {folder / value}")
        value = str(folder / value)
    language = line.get("language")
    if language is not None and not isinstance(language, str):
        raise ValueError("language is a text, such as en")
    query = {"type": kind, "value": value}
    return Judgment(query, _grades(line.get("relevant")), line.get("filters"), language)


def _grades(said: Any) -> dict[str, float]:
    grades = dict.fromkeys(said, 1) if isinstance(said, list) and _texts(said) else said
    if (
        not isinstance(grades, dict)
        or not grades
        or any(type(grade) not in (int, float) or not 0 < grade <= 10 for grade in grades.values())
    ):
        raise ValueError(
            "relevant is a list of document ids, or an object of ids with grades above 0, at most "
            "10; it is not empty"
        )
    return {str(name): float(grade) for name, grade in grades.items()}


def _texts(said: list[Any]) -> bool:
    return all(isinstance(each, str) for each in said)


def same_value(documents: Iterator[Any], field: str, sample: int) -> list[Judgment]:
    """Judgments from metadata: documents with one value of `field` are relevant for each other.

    Each document is a query, up to `sample` of them; documents whose value no other has are left
    out. `documents` are all of the collection, since their values are counted. Raises Failure if
    nothing can be judged so.
    """
    by_value: dict[str, list[str]] = {}
    for document in documents:
        value = value_of(document.metadata, field)
        if isinstance(value, (str, int, float, bool)):
            by_value.setdefault(json.dumps(value), []).append(document.document_id)
    groups = [(json.loads(value), ids) for value, ids in by_value.items() if len(ids) > 1]
    judgments = [
        Judgment({"type": "document", "value": name}, {}, same=(field, value), total=len(ids) - 1)
        for value, ids in groups
        for name in ids
    ]
    if not judgments:
        raise Failure(
            f"no two documents have the same value of {field!r}: name a field that groups them, "
            "such as the product that a picture shows",
            ExitCode.USAGE,
        )
    asked = min(sample, len(judgments))
    return [judgments[at * len(judgments) // asked] for at in range(asked)]


def value_of(metadata: Any, field: str) -> Any:
    """The value of a metadata field; `a.b` is the key `b` of the object `a`."""
    for part in field.split("."):
        metadata = metadata.get(part) if isinstance(metadata, dict) else None
    return metadata
