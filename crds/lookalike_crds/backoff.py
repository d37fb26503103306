"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait after the n-th failure in a row: base x 2^(n-1), at most `cap`.

    `jitter` is the share by which the wait is made longer or shorter at random, so that those who
    lost a server together do not all come back at once.
    """

    base: float = 0.5
    cap: float = 120.0
    jitter: float = 0.25

    def after(self, failures: int, chance: float | None = None) -> float:
        """`chance`: uniform in [0, 1); drawn here if it is left out."""
        plain = min(self.cap, self.base * 2.0 ** min(failures - 1, 30))
        drawn = random.random() if chance is None else chance
        return plain * (1 - self.jitter + 2 * self.jitter * drawn)
