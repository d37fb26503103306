"""The vectors of recent texts: people and pages often send the same text again."""

from __future__ import annotations

import threading

from cachetools import LRUCache

from lookalike_serving.embed.results import Vector


class TextMemory:
    """The last `size` texts; 0 remembers none. Usable from any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._vectors: LRUCache[str, Vector] = LRUCache(size)
        self._hits = 0
        self._lock = threading.Lock()

    @property
    def hits(self) -> int:
        """Since the start."""
        return self._hits

    def recall(self, text: str) -> Vector | None:
        if not self._size:
            return None
        with self._lock:
            vector = self._vectors.get(text)
            if vector is not None:
                self._hits += 1
            return vector

    def remember(self, text: str, vector: Vector) -> None:
        if not self._size:
            return
        with self._lock:
            self._vectors[text] = vector.copy()
