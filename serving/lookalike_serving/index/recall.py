"""Finding the cheapest search settings that reach a recall, by measurement on a built index.

Queries are stored vectors and, where there are some, vectors that were searched for: texts lie
farther from the images than images lie from each other, and take a wider beam. Each is searched for
exactly once, which gives the truth, and then with as few beam widths as a bisection needs. A result
counts as found if its score is among the exact ones, so that equal images may stand for each other.

Recall grows with the beam, and so does the time of a search; it also grows with the vectors that
are read in full for each result (`oversampling`), which costs much less. So for each oversampling
the narrowest beam is looked for, and of these pairs the fastest is taken.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from statistics import fmean
from typing import Protocol

from lookalike_crds.image_collection import Quantization, VectorSpec
from lookalike_crds.moments import utc_text
from lookalike_serving.index.protocol import Hit, Page, Query, Vector
from lookalike_serving.index.tuning import NARROW, WIDE, Tuning

log = logging.getLogger(__name__)

BEAMS = (24, 32, 48, 64, 96, 128, 160, 200, 256, 320, 400, 512, 640, 800)
QUERIES = 300
"""Of each kind: 3,000 neighbours, so that one that is missed counts .0003."""
_FEWEST = 50
"""Of a kind: with fewer, the figure would say little."""
_AT_ONCE = 10
_EXACT_SECONDS = 60.0
"""Exact search of a very large index takes seconds a query: then fewer have to do."""
_EQUAL = 1e-6
_OVERSAMPLINGS = {
    Quantization.NONE: (1.0,),
    Quantization.SCALAR: (1.0, 2.0, 4.0),
    Quantization.BINARY: (2.0, 4.0, 8.0),
}


class Searched(Protocol):
    """What of an index is needed."""

    async def scroll(
        self, *, limit: int, after: str | None, with_payload: bool, with_vector: bool
    ) -> Page: ...

    async def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    vector: Vector
    id: str | None
    """Of the stored vector itself, which is no result; None for one that was searched for."""
    exact: tuple[float, ...] = ()
    """Scores of the exact results, best first."""


async def tuned(
    index: Searched,
    vector: VectorSpec,
    points: int,
    recent: Sequence[Vector] = (),
    *,
    seed: int = 0,
) -> Tuning | None:
    """Measure an index of `points` vectors; None if it has none. Raises IndexFailure.

    `recent`: vectors that were searched for, of which the last `QUERIES` are taken.
    """
    stored = await _sample(index, Random(seed))
    searched = [_Asked(each, None) for each in list(recent)[-QUERIES:]]
    asked = await _exact(index, [*_alternating(searched, stored)])
    if not asked:
        return None
    found = [
        await _narrowest(index, vector, asked, each) for each in _OVERSAMPLINGS[vector.quantization]
    ]
    best = min(
        found, key=lambda each: (not each.reached, each.cost if each.reached else -each.recall)
    )
    wide = await _beam(index, asked, WIDE, vector.recall_target, best.oversampling)
    return Tuning(
        recall_target=vector.recall_target,
        recall=best.recall,
        ef=best.ef,
        wide_ef=max(wide[0], best.ef),
        oversampling=best.oversampling,
        queries=len(asked),
        recent=sum(each.id is None for each in asked),
        points=points,
        measured_at=utc_text(datetime.now(UTC)),
    )


async def _sample(index: Searched, random: Random) -> list[_Asked]:
    """Stored vectors. Ids are hashes, so those that follow a random one are a random sample."""
    found: dict[str, _Asked] = {}
    for _ in range(QUERIES // _AT_ONCE):
        start = str(uuid.UUID(int=random.getrandbits(128)))
        page = await index.scroll(limit=_AT_ONCE, after=start, with_payload=False, with_vector=True)
        for record in page.records:
            if record.vector is not None:
                found[record.id] = _Asked(record.vector, record.id)
    if len(found) < _FEWEST:  # a small index, all of whose ids may lie before the random ones
        page = await index.scroll(limit=QUERIES, after=None, with_payload=False, with_vector=True)
        for record in page.records:
            if record.vector is not None:
                found[record.id] = _Asked(record.vector, record.id)
    return list(found.values())


def _alternating(first: list[_Asked], second: list[_Asked]) -> list[_Asked]:
    """Both in turns, so that those that time allows are of both."""
    return [
        each
        for number in range(max(len(first), len(second)))
        for some in (first, second)
        for each in some[number : number + 1]
    ]


async def _exact(index: Searched, asked: list[_Asked]) -> list[_Asked]:
    """With their exact results, those that have some; not all of them if that takes long."""
    told: list[_Asked] = []
    until = time.monotonic() + _EXACT_SECONDS
    for start in range(0, len(asked), _AT_ONCE):
        if len(told) >= _FEWEST and time.monotonic() > until:
            log.info("recall is measured with %d queries, for want of time", len(told))
            break
        part = asked[start : start + _AT_ONCE]
        for each, hits in zip(part, await _search(index, part, WIDE, exact=True), strict=True):
            if hits:
                told.append(replace(each, exact=tuple(hit.score for hit in hits)))
    return told


async def _search(
    index: Searched,
    asked: Sequence[_Asked],
    top: int,
    *,
    exact: bool = False,
    ef: int | None = None,
    oversampling: float | None = None,
) -> list[list[Hit]]:
    found = await index.query_batch(
        [
            Query(
                each.vector,
                top + (each.id is not None),
                ef=ef,
                exact=exact,
                oversampling=oversampling,
                with_payload=False,
            )
            for each in asked
        ]
    )
    return [
        [hit for hit in hits if hit.id != each.id][:top]
        for each, hits in zip(asked, found, strict=True)
    ]


async def _recall(
    index: Searched, asked: Sequence[_Asked], top: int, ef: int, oversampling: float
) -> float:
    """The mean share of the first `top` exact results that are found, of the worse kind of query.

    Texts must not be found less often because the many stored vectors are found easily.
    """
    shares: dict[bool, list[float]] = {False: [], True: []}
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        found = await _search(index, part, top, ef=ef, oversampling=oversampling)
        for each, hits in zip(part, found, strict=True):
            truth = each.exact[:top]
            least = truth[-1] - _EQUAL
            share = min(len(truth), sum(hit.score >= least for hit in hits)) / len(truth)
            shares[each.id is None].append(share)
    kinds = [each for each in shares.values() if len(each) >= _FEWEST] or [
        [*shares[False], *shares[True]]
    ]
    return min(fmean(each) for each in kinds)


async def _beam(
    index: Searched, asked: Sequence[_Asked], top: int, target: float, oversampling: float
) -> tuple[int, float]:
    """The narrowest beam that reaches the target, and its recall; else the widest."""
    low, high = 0, len(BEAMS) - 1
    recalls: dict[int, float] = {}
    while low < high:
        middle = (low + high) // 2
        recalls[middle] = await _recall(index, asked, top, BEAMS[middle], oversampling)
        if recalls[middle] >= target:
            high = middle
        else:
            low = middle + 1
    if low not in recalls:
        recalls[low] = await _recall(index, asked, top, BEAMS[low], oversampling)
    return BEAMS[low], recalls[low]


@dataclass(frozen=True, slots=True)
class _Setting:
    oversampling: float
    ef: int
    recall: float
    reached: bool
    cost: float
    """Seconds for all queries."""


async def _narrowest(
    index: Searched, vector: VectorSpec, asked: Sequence[_Asked], oversampling: float
) -> _Setting:
    ef, recall = await _beam(index, asked, NARROW, vector.recall_target, oversampling)
    costs = []
    for _ in range(2):  # the better of two: the other may have been disturbed
        began = time.perf_counter()
        await _recall(index, asked, NARROW, ef, oversampling)
        costs.append(time.perf_counter() - began)
    return _Setting(oversampling, ef, recall, recall >= vector.recall_target, min(costs))
