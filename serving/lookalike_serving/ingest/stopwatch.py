"""How long something was under way, where several calls may be so at once."""

from __future__ import annotations

import time


class Stopwatch:
    """Seconds in which at least one `with` block was open. Of one event loop."""

    def __init__(self) -> None:
        self._open = 0
        self._since = 0.0
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._seconds + (time.monotonic() - self._since if self._open else 0.0)

    def __enter__(self) -> None:
        if not self._open:
            self._since = time.monotonic()
        self._open += 1

    def __exit__(self, *_: object) -> None:
        self._open -= 1
        if not self._open:
            self._seconds += time.monotonic() - self._since
