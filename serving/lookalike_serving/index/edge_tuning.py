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
from dataclasses import dataclass

import qdrant_edge as edge

from lookalike_serving.index.edge_engine import ShardEngine, ShardPlace
from lookalike_serving.index.edge_growth import SEGMENTS_BESIDE, Extent
from lookalike_serving.index.edge_settings import Thresholds, thresholds
from lookalike_serving.index.edge_shard import load_shard
from lookalike_serving.index.protocol import Hit, IndexFailure, Page, Query, Vector
from lookalike_serving.index.recall import tuned


@dataclass(frozen=True, slots=True)
class Told:
    """What the optimiser's process needs to know."""

    place: ShardPlace
    limits: Thresholds
    recent: list[Vector] | None
    """Vectors that were searched for; None: search settings stay as they are."""


def told_to_optimizer(place: ShardPlace, extent: Extent, recent: Sequence[Vector]) -> bytes:
    """`place` is of the shard as it will be. `recent`: vectors that were searched for."""
    manifest = place.manifest
    whole = extent is Extent.WHOLE
    # The graph that stays was built with these limits, and the engine builds it again with others.
    limits = thresholds(
        manifest.built, manifest.dimension or 0, segments=1 if whole else SEGMENTS_BESIDE
    )
    return pickle.dumps(Told(place, limits, list(recent) if whole else None))


def read(told: bytes) -> Told:
    known: Told = pickle.loads(told)
    return known


def load(told: Told) -> edge.EdgeShard:
    """Open the shard that is to be optimised. Raises IndexFailure."""
    return load_shard(told.place.path, told.place.manifest, told.place.vector, told.limits)


def tune(shard: edge.EdgeShard, told: Told) -> None:
    """Measure, and leave the settings among the shard's files.

    An index whose settings cannot be measured is as good as one before: it has the usual ones.
    """
    place, recent = told.place, told.recent
    if recent is None:
        return
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
