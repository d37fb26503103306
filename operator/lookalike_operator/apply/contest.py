"""Detects who changes back what we apply, by how often one and the same manifest had to be written.

Another controller, or another release of this operator, may want another value of a field. Both
would continue for ever, as fast as the API server allows. So the same manifest of an object is
written a few times at once, and then less and less often, until nobody has changed it for an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cachetools import LRUCache

AT_ONCE = 5
"""Times that a manifest is written again without a wait: somebody may try out what happens."""
_FIRST_WAIT_SECONDS = 15.0
_LONGEST_WAIT_SECONDS = 300.0
_FORGOTTEN_AFTER_SECONDS = 3600.0
_REMEMBERED = 10_000


@dataclass(slots=True)
class _Object:
    stamp: str
    again: list[float] = field(default_factory=list)
    """When this manifest had to be written once more."""


class Contests:
    """Of all objects, by uid."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._objects: LRUCache[str, _Object] = LRUCache(_REMEMBERED)

    def wrote(self, uid: str, stamp: str) -> None:
        known = self._objects.get(uid)
        if known is None or known.stamp != stamp:
            self._objects[uid] = _Object(stamp)
        else:
            known.again = [*self._recent(known), self._clock()]

    def times(self, uid: str, stamp: str) -> int:
        """How often this manifest had to be written again lately."""
        known = self._objects.get(uid)
        return len(self._recent(known)) if known is not None and known.stamp == stamp else 0

    def wait(self, uid: str, stamp: str) -> float:
        """Seconds until this manifest may be written; 0: now."""
        times = self.times(uid, stamp)
        if times < AT_ONCE:
            return 0.0
        gap = min(_FIRST_WAIT_SECONDS * 2.0 ** (times - AT_ONCE), _LONGEST_WAIT_SECONDS)
        return max(0.0, self._objects[uid].again[-1] + gap - self._clock())

    def _recent(self, known: _Object) -> list[float]:
        oldest = self._clock() - _FORGOTTEN_AFTER_SECONDS
        return [at for at in known.again if at > oldest]
