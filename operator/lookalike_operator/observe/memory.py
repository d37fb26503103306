"""What a look at a resource leaves behind for the next one, and no object could hold.

All of it can be lost: a fresh process converges to the same objects. It is kept so that the next
snapshot knows what the last apply met, and what scaling wanted over the last minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from lookalike_crds.cron import SetSince
from lookalike_operator.plan.model import Deletion, Key, ObjectRef, Recommendation, Trouble

_LONGEST = timedelta(days=1)
"""The longest stabilisation window that a Retriever can ask for."""
_MOST = 6000


@dataclass(slots=True)
class Remembered:
    foreign: tuple[ObjectRef, ...] = ()
    """Objects with a name of ours that are not ours, as the last apply met them."""
    refused: tuple[tuple[ObjectRef, str], ...] = ()
    """Objects that the API server did not take at the last apply, and why."""
    trouble: Trouble | None = None
    """What else went wrong at the last look."""
    recommendations: tuple[Recommendation, ...] = ()
    """What scaling wanted, oldest first."""
    deletion: Deletion = field(default_factory=Deletion)
    """How long the deletion of a collection's index has been held up."""
    schedules: SetSince = field(default_factory=SetSince)
    """When the schedules of a collection's sources were set."""
    restless: int = 0
    """Looks in a row that each wrote something."""

    def recommend(self, recommendation: Recommendation) -> None:
        oldest = recommendation.at - _LONGEST
        recent = [r for r in self.recommendations if r.at >= oldest]
        self.recommendations = (*recent[-_MOST:], recommendation)


class Memory:
    def __init__(self) -> None:
        self._of: dict[Key, Remembered] = {}

    def of(self, key: Key) -> Remembered:
        return self._of.setdefault(key, Remembered())

    def forget(self, key: Key) -> None:
        self._of.pop(key, None)
