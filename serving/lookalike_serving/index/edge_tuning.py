"""Settings of an Edge shard in the process that optimises it: those that follow from the number of
its points, and those of searches, which are measured afterwards.

Exact search of a large shard takes seconds and holds Python's lock, so the serving process must not
do it (`edge_optimize.py`); the optimiser's process has the shard open, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Sequence

import qdrant_edge as edge

from lookalike_serving.index.edge_engine import ShardEngine, ShardPlace
from lookalike_serving.index.edge_settings import thresholds
from lookalike_serving.index.edge_shard import load_shard
from lookalike_serving.index.protocol import Hit, IndexFailure, Page, Query, Vector
from lookalike_serving.index.recall import tuned


def tuned_for(place: ShardPlace, points: int, recent: Sequence[Vector]) -> bytes:
    """What the optimiser's process needs to know. `recent`: vectors that were searched for."""
    return pickle.dumps((place, thresholds(points, place.manifest.dimension or 0), list(recent)))


def load(told: bytes) -> edge.EdgeShard:
    """Open the shard that is to be optimised. Raises IndexFailure."""
    place: ShardPlace
    place, limits, _ = pickle.loads(told)
    return load_shard(place.path, place.manifest, place.vector, limits)


def tune(shard: edge.EdgeShard, told: bytes) -> None:
    """Measure, and leave the settings among the shard's files.

    An index whose settings cannot be measured is as good as one before: it has the usual ones.
    """
    place: ShardPlace
    place, _, recent = pickle.loads(told)
    place.tuning_file.unlink(missing_ok=True)  # copied from the shard before
    engine = ShardEngine(shard, place)
    state = engine.state()
    if place.vector is None or not state.indexed_vectors:
        return
    try:
        found = asyncio.run(tuned(_Searches(engine), place.vector, state.points, recent))
    except IndexFailure as failure:
        print(f"no search settings were measured: {failure}", file=sys.stderr)
        return
    if found is not None:
        place.tuning_file.write_text(found.write(), "utf-8")


class _Searches:
    def __init__(self, engine: ShardEngine) -> None:
        self._engine = engine

    async def scroll(
        self, *, limit: int, after: str | None, with_payload: bool, with_vector: bool
    ) -> Page:
        return self._engine.scroll(None, limit, after, with_payload, with_vector)

    async def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        return self._engine.query_batch(queries)
