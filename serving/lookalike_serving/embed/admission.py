"""Which embeddings are accepted: no more than can be computed while their callers still wait.

A queue that grows without end answers nobody in time: every caller gives up before their turn. So
beyond a number of embeddings, and beyond a time that those under way are expected to take,
callers are refused at once and may come back, and those who were accepted are answered.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from lookalike_crds.failures import TOO_MANY_REQUESTS

_BATCHES = 8
"""The speed is that of the fastest of so many last batches: an item of a small batch, or of the
first of its size, takes longer than one of a queue. Before so many, it is not known."""


class Overloaded(Exception):
    """More embeddings are under way than can be computed soon. Try again a little later."""

    failure_kind = TOO_MANY_REQUESTS


class Kind(Enum):
    IMAGE = "image"
    TEXT = "text"

    @property
    def other(self) -> Kind:
        return Kind.TEXT if self is Kind.IMAGE else Kind.IMAGE


class Admission:
    """Counts what is under way. Not thread-safe: its user holds a lock.

    `most`: embeddings under way at once. `longest_wait`: seconds that those under way may be
    expected to take when others come; None: any time.
    """

    def __init__(self, most: int, longest_wait: float | None) -> None:
        self._most = most
        self._longest_wait = longest_wait
        self._of_kind = dict.fromkeys(Kind, 0)
        self._seconds_each: dict[Kind, deque[float]] = {k: deque(maxlen=_BATCHES) for k in Kind}
        self.refused = 0

    @property
    def under_way(self) -> int:
        return sum(self._of_kind.values())

    def expected_wait(self) -> float:
        """Seconds until all that is under way is computed; 0 as long as the speed is not known."""
        return sum(
            count * min(each)
            for kind, count in self._of_kind.items()
            if len(each := self._seconds_each[kind]) == _BATCHES
        )

    def enter(self, kind: Kind, count: int) -> None:
        """Accept `count` embeddings. Raises Overloaded, and then accepts none of them."""
        if self.under_way + count > self._most:
            self.refused += count
            raise Overloaded(
                f"{self.under_way} embeddings are under way and {count} more would "
                f"exceed the limit of {self._most}: try again in a moment"
            )
        wait = self.expected_wait()
        if self._longest_wait is not None and wait > self._longest_wait:
            self.refused += count
            raise Overloaded(
                f"{self.under_way} embeddings are under way, which take about {wait:.0f} s; more "
                f"are accepted when it is less than {self._longest_wait:g} s: try again then"
            )
        self._of_kind[kind] += count

    def leave(self, kind: Kind) -> None:
        """One is computed, has failed or is not wanted any more."""
        self._of_kind[kind] -= 1

    def took(self, kind: Kind, count: int, seconds: float) -> None:
        """A batch of `count` was computed in `seconds`."""
        self._seconds_each[kind].append(seconds / count)
