"""A document in the pipeline: its hit, its score, and how the score was computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lookalike_serving.documents.layout import RESERVED
from lookalike_serving.index.protocol import Hit


@dataclass(frozen=True, slots=True)
class Step:
    """The score and the place (1 is best) a stage gave."""

    stage: str
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One document with its score so far."""

    collection: str
    hit: Hit
    score: float
    steps: tuple[Step, ...] = ()

    @property
    def document_id(self) -> str:
        """The document's id; the point's, where another program wrote the point."""
        return str(self.hit.payload.get(RESERVED, {}).get("document_id", self.hit.id))

    @property
    def image(self) -> str | None:
        image = self.hit.payload.get(RESERVED, {}).get("image")
        return image if isinstance(image, str) else None

    def value(self, key: str) -> Any:
        """The metadata value under a key or a dotted path; None if there is none."""
        found: Any = self.hit.payload
        for name in key.split("."):
            if not isinstance(found, dict) or name not in found:
                return None
            found = found[name]
        return found


def traced(candidates: list[Candidate], stage: str) -> list[Candidate]:
    """The same candidates, each with this stage's score and place added to its steps."""
    return [
        replace(candidate, steps=(*candidate.steps, Step(stage, candidate.score, rank)))
        for rank, candidate in enumerate(candidates, 1)
    ]
