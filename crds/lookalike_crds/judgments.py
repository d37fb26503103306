"""The file of judgments: queries, and the documents that are relevant for each.

One JSON object on each line:

    {"text": "red mug", "relevant": ["mug-1", "mug-7"]}
    {"image": "photos/a.jpg", "relevant": {"mug-1": 3, "mug-7": 1}, "filters": {"status": "active"}}
    {"document": "mug-1", "relevant": ["mug-7"], "language": "en"}

`image` is an address, or a path relative to the file. `relevant` gives ids, or ids with grades
above 0. `filters` are those of a search, and are not checked here; `language` only groups the
figures of `lookalike evaluate`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal["text", "image", "document"]
_KINDS: tuple[Kind, ...] = get_args(Kind)
_KEYS = {*_KINDS, "relevant", "filters", "language"}
_EXAMPLE = '{"text": "red mug", "relevant": ["mug-1"]}'


class WrongJudgments(ValueError):
    """The file cannot be used. The message names it and what is wrong, of wrong lines the first."""

    def __init__(self, file: Path, told: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(f"{file} {told}")
        self.lines = lines
        """What is wrong with each wrong line; empty if it is the file as a whole."""


@dataclass(frozen=True, slots=True)
class Judgment:
    """One query with the documents that are relevant for it."""

    line: int
    """Of the file, from 1."""
    kind: Kind
    value: str
    """The text, the path or address of the image, or the id of the document."""
    relevant: dict[str, float]
    """Grades by document id."""
    filters: Any = None
    language: str | None = None


def read_judgments(file: Path) -> list[Judgment]:
    """Raises WrongJudgments."""
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise WrongJudgments(file, f"cannot be read: {error}") from None
    found: list[Judgment] = []
    wrong: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found.append(_judgment(number, json.loads(line), file.parent))
        except ValueError as error:
            told = "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            wrong.append(f"line {number}: {told}")
    if wrong:
        raise WrongJudgments(file, wrong[0], tuple(wrong))
    if not found:
        raise WrongJudgments(file, f"has no judgments: write lines such as {_EXAMPLE}")
    return found


def _judgment(number: int, line: Any, folder: Path) -> Judgment:
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
    return Judgment(
        number, kind, value, _grades(line.get("relevant")), line.get("filters"), language
    )


def _grades(said: Any) -> dict[str, float]:
    """Raises ValueError."""
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
