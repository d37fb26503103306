"""When the shard of an Edge index is worth optimising, and how much of it.

One graph of all vectors is searched fastest, and takes minutes to build: of 1M x 512 some seven on
two cores, and more with indexed fields. Vectors that are in no graph are compared one by one, 2 ms
for each 10,000 of 512. In between, new vectors get a graph of their own beside the large one: that
takes a second for 6,000 of 512, and .1 ms in each search. So what is new is indexed beside, and the
shard is made one graph again when enough is beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lookalike_serving.index.edge_settings import INDEXING_THRESHOLD_KB

SEGMENTS_BESIDE = 4
"""At most so many are searched; the engine merges the smallest ones of more."""


class Extent(Enum):
    """How much of a shard is optimised."""

    WHOLE = "whole"
    """All of it, into one graph, for which search settings are measured."""
    BESIDE = "beside"
    """What is in no graph yet. The search settings stay: more graphs find no fewer neighbours."""


@dataclass(frozen=True, slots=True)
class Share:
    """Vectors that are worth the work: at least so many bytes, and such a share of all points."""

    bytes: int
    of_points: float


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is worth which work when."""

    waiting: Share
    """In no graph: they get one."""
    outside: Share
    """In no graph or in one beside: the whole shard is optimised."""


# 20 MB, 10,000 vectors of 512, cost a search 2 ms; each time, the whole shard is copied.
_DUE = Share(20_000_000, 0.02)
ASKED = Occasion(Share(INDEXING_THRESHOLD_KB * 1024, 0.0), Share(INDEXING_THRESHOLD_KB * 1024, 0.1))
"""Somebody asks for it, as ingestion does at its end."""
IDLE = Occasion(_DUE, Share(20_000_000, 0.1))
"""There has been no write for a while."""
BUSY = Occasion(_DUE, Share(100_000_000, 0.5))
"""There are writes all the time. An index that is built whenever it has doubled costs about twice
as much as its last build."""
VACUUM = (1_000, 0.2)
"""Deleted points, and their share, whose space is worth reclaiming (Qdrant's defaults)."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What has become of a shard since it was optimised, in points."""

    points: int
    """In all."""
    waiting: int
    """In no graph, or written again since they came into one."""
    beside: int
    """In graphs beside the one that was built of the whole."""
    deleted: int
    built: int
    """In the shard when it was last optimised as a whole; 0: never, or by an earlier release."""
    vector_bytes: int
    """Of one."""

    @property
    def outside(self) -> int:
        return min(self.points, self.waiting + self.beside)

    def due(self, occasion: Occasion) -> Extent | None:
        deleted, share = VACUUM
        vacuum = self.deleted >= deleted and self.deleted >= share * self.points
        if vacuum or self._reach(self.outside, occasion.outside):
            return Extent.WHOLE
        if not self._reach(self.waiting, occasion.waiting):
            return None
        # Without a graph that stays, the work is the same, and one of the whole is worth more.
        return Extent.BESIDE if self.built and self.outside < self.points else Extent.WHOLE

    def _reach(self, count: int, share: Share) -> bool:
        return count * self.vector_bytes >= share.bytes and count >= share.of_points * self.points
