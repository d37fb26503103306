"""Boost: adds to the score of documents with a given metadata value.

It looks beyond the nearest documents: the index is asked once more among those it favours, so
that a boosted document is found however far down it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lookalike_crds.stages import BoostStage
from lookalike_serving.index.filters.equality import Equals
from lookalike_serving.index.filters.tree import Filter, Not
from lookalike_serving.search.candidates import Candidate
from lookalike_serving.search.stages.stage import Stage


class Boost(Stage[BoostStage], of=BoostStage):
    def fields(self) -> Sequence[str]:
        return (self.spec.field,)

    def favoured(self) -> Sequence[Filter]:
        """The documents that match, or, if the weight is negative, those that do not."""
        if self.spec.weight == 0:
            return ()
        match = Equals(self.spec.field, self.spec.value)
        return (match if self.spec.weight > 0 else Not((match,)),)

    def apply(self, candidates: Sequence[Candidate], top_k: int) -> list[Candidate]:
        """Adds the weight to the score of matching documents and sorts again."""
        boosted = [
            replace(candidate, score=candidate.score + self.spec.weight)
            if _matches(candidate.value(self.spec.field), self.spec.value)
            else candidate
            for candidate in candidates
        ]
        return sorted(boosted, key=lambda candidate: -candidate.score)


def _matches(value: object, wanted: str | int | float | bool) -> bool:
    """Equality as the index has it: a list matches by any member, true is not 1."""
    if isinstance(value, list):
        return any(_matches(each, wanted) for each in value)
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)
