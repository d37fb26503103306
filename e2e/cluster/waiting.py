"""Waiting with a deadline, and a name for what did not come."""

from __future__ import annotations

import time
from collections.abc import Callable

from e2e.cluster.errors import DidNotStart


def until(ready: Callable[[], bool], what: str, seconds: float, pause: float = 0.2) -> None:
    """Until `ready()`. Raises DidNotStart, which names `what`, where time runs out."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise DidNotStart(f"no {what} after {seconds:g} s")
        time.sleep(pause)
