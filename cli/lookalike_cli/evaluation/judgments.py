"""What is asked, and which documents are relevant: from a file of judgments, or from metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike_cli.failure import ExitCode, Failure
from lookalike_crds.judgments import WrongJudgments, read_judgments

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
    edit: str | None = None
    """What was done to the stored picture that is searched with."""
    label: str | None = None
    """What the query is called instead of its value."""

    @property
    def asked(self) -> dict[str, Any]:
        """The query, for people: without the bytes of a picture."""
        return self.query if self.label is None else {**self.query, "value": self.label}

    @property
    def shown(self) -> str:
        value = self.asked["value"]
        return str(value) if self.query["type"] == "text" else f"{self.query['type']} {value}"


def read(file: Path) -> list[Judgment]:
    """The judgments of a file. Raises Failure that lists every wrong line."""
    try:
        judgments = read_judgments(file)
    except WrongJudgments as wrong:
        if not wrong.lines:
            raise Failure(str(wrong), ExitCode.USAGE) from None
        hidden = len(wrong.lines) - _MOST_WRONG
        more = f"\n… and {hidden} more" if hidden > 0 else ""
        told = "\n".join(wrong.lines[:_MOST_WRONG])
        raise Failure(f"{file}:\n{told}{more}", ExitCode.USAGE) from None
    return [
        Judgment(
            {"type": each.kind, "value": each.value}, each.relevant, each.filters, each.language
        )
        for each in judgments
    ]


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
