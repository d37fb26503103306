"""The vectors of recent queries: people and pages often send the same text or picture again."""

from __future__ import annotations

import hashlib
import threading

from cachetools import LRUCache

from lookalike_serving.embed.results import Embedded, Timings


class Memory:
    """The last `size` answers, by text or by digest of an image file; 0 remembers none. Usable from
    any thread."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._answers: LRUCache[str, Embedded] = LRUCache(size)
        self._hits = 0
        self._lock = threading.Lock()

    @property
    def hits(self) -> int:
        """Since the start."""
        return self._hits

    def recall(self, key: str) -> Embedded | None:
        if not self.size:
            return None
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None:
                self._hits += 1
            return answer

    def remember(self, key: str, answer: Embedded) -> None:
        if not self.size:
            return
        kept = Embedded(answer.vector.copy(), Timings(cached=True), answer.image)
        with self._lock:
            self._answers[key] = kept


def digest(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()
