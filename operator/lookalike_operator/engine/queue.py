"""Which resource is reconciled next: a queue of keys, not of events.

    add(key) … add(key)  ->  one reconcile, and never two at a time  ->  done(key)

However often a key is added while it waits, it is reconciled once, with all the reasons. If it is
added while it is being reconciled, it is reconciled once more afterwards. Keys are taken in the
order in which they became due, so one busy resource cannot starve the others. A key that failed
waits exponentially longer each time, with jitter, up to a limit. An event does not shorten this
wait, so a failing resource cannot spin on its own events.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from lookalike_crds.backoff import Backoff
from lookalike_operator.plan.model import Key

SOON_SECONDS = 0.5
"""For changes that usually come in groups: a new Deployment changes its status several times within
that time, and one reconcile observes them all."""
_MOST_REASONS = 8


@dataclass(slots=True)
class _Waiting:
    due: float
    reasons: dict[str, None] = field(default_factory=dict)
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """One reconcile that is due."""

    key: Key
    reasons: tuple[str, ...]
    waited: float
    """Seconds since it became due."""


class KeyedQueue:
    def __init__(
        self,
        backoff: Backoff | None = None,
        *,
        clock: Callable[[], float] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._backoff = backoff or Backoff()
        self._clock = clock or asyncio.get_running_loop().time
        self._chance = chance
        self._waiting: dict[Key, _Waiting] = {}
        self._ready: deque[Key] = deque()
        self._later: list[tuple[float, Key]] = []
        self._flying: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._not_before: dict[Key, float] = {}
        self._wakeup = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # -- putting in --------------------------------------------------------------------------------

    def add(self, key: Key, reason: str, after: float = 0.0) -> None:
        """Reconcile the key in `after` seconds at the latest."""
        if self._closed:
            return
        now = self._clock()
        due = max(now + after, self._not_before.get(key, 0.0))
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(due)
        elif due < waiting.due:
            waiting.due = due
        if len(waiting.reasons) < _MOST_REASONS:
            waiting.reasons[reason] = None
        self._schedule(key, waiting, now)

    def failed(self, key: Key, reason: str, at_least: float = 0.0) -> float:
        """The reconcile failed: repeat it after its backoff, or after `at_least` seconds. Returns
        the seconds."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        seconds = max(at_least, self._backoff.after(count, self._chance()))
        self._not_before[key] = self._clock() + seconds
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.ready:
            waiting.due = max(waiting.due, self._not_before[key])
        self.add(key, reason, seconds)
        return seconds

    def succeeded(self, key: Key) -> None:
        """The reconcile succeeded, or what failed is no longer current: its backoff ends."""
        self._failures.pop(key, None)
        self._not_before.pop(key, None)

    def forget(self, key: Key) -> None:
        """The resource no longer exists: nothing more is due."""
        self.succeeded(key)
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.ready:
            del self._waiting[key]

    # -- taking out --------------------------------------------------------------------------------

    async def take(self) -> Turn | None:
        """The next key that is due, waiting for one; None once the queue is closed. Ends with
        `done`."""
        while True:
            if self._closed:
                return None
            self._promote()
            if self._ready:
                key = self._ready.popleft()
                waiting = self._waiting.pop(key)
                self._flying.add(key)
                return Turn(key, tuple(waiting.reasons), max(0.0, self._clock() - waiting.due))
            self._wakeup.clear()
            await self._wakeup.wait()

    def done(self, key: Key) -> None:
        """The reconcile has ended: the key may be taken again."""
        self._flying.discard(key)
        waiting = self._waiting.get(key)
        if waiting is not None:
            self._schedule(key, waiting, self._clock())

    def close(self) -> None:
        """From now on, every `take` returns None."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._wakeup.set()

    # -- looking in --------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Keys that are due and wait for a worker."""
        self._promote()
        return len(self._ready)

    @property
    def flying(self) -> int:
        return len(self._flying)

    @property
    def idle(self) -> bool:
        """Whether nothing is due and nothing is in progress; something may become due later."""
        return not self.depth and not self._flying and not self._overdue()

    # -- inside ------------------------------------------------------------------------------------

    def _overdue(self) -> bool:
        now = self._clock()
        return any(w.due <= now for w in self._waiting.values())

    def _schedule(self, key: Key, waiting: _Waiting, now: float) -> None:
        if waiting.ready or key in self._flying:
            return
        if waiting.due <= now:
            waiting.ready = True
            self._ready.append(key)
            self._wakeup.set()
            return
        heapq.heappush(self._later, (waiting.due, key))
        self._arm(now)

    def _promote(self) -> None:
        """Move the keys that have become due. Outdated entries of the heap are dropped here."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, key = heapq.heappop(self._later)
            waiting = self._waiting.get(key)
            if waiting is None or waiting.ready or key in self._flying or waiting.due != due:
                continue
            waiting.ready = True
            self._ready.append(key)
        self._arm(now)

    def _arm(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._later and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._later[0][0] - now), self._wakeup.set)
