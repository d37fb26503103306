"""How much memory all images together may take while they are decoded in this process."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class Budget:
    """So many bytes, given out in the order in which they were asked for. For threads."""

    def __init__(self, total: int) -> None:
        self._free = self._total = total
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @contextlib.contextmanager
    def room(self, wanted: int) -> Iterator[None]:
        """Hold so many bytes, or all there are; waits until they are free."""
        size = min(wanted, self._total)
        turn = object()
        with self._changed:
            self._queue.append(turn)
            self._changed.wait_for(lambda: self._queue[0] is turn and self._free >= size)
            self._queue.popleft()
            self._free -= size
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
