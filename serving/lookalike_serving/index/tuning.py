"""Search and storage settings that every engine of Qdrant shares, as bench/search.py tuned them,
and those that an index measures for itself (`recall.py`)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar

from lookalike_crds.image_collection import Quantization, SearchSettingsStatus, VectorSpec

T = TypeVar("T")

EF = 128
"""HNSW beam width of an index that has measured none: recall@10 .999 with rescoring in segments of
some 300,000 vectors (bench/search.py)."""
_OVERSAMPLING = {Quantization.NONE: 1.0, Quantization.SCALAR: 2.0, Quantization.BINARY: 4.0}
QUANTILE = 0.99
"""Scalar quantisation clips components beyond this quantile, Qdrant's own recommendation."""


def oversampling(vector: VectorSpec | None) -> float:
    """Candidates taken from quantised storage for each result, to be rescored with the originals.

    Bits rank far more coarsely than bytes do; Qdrant's guide recommends 3 and more for them.
    """
    return _OVERSAMPLING[Quantization.NONE if vector is None else vector.quantization]


NARROW, WIDE = 10, 100
"""How many results were asked for when the beam was measured: few as in most searches, and many as
where results are re-ranked."""


_GROWTH = 0.1


@dataclass(frozen=True, slots=True)
class Tuning:
    """What an index measured after it was built, and the settings chosen by it."""

    recall_target: float
    recall: float
    """With these settings, of the first ten results: the share of those of exact search that are
    found."""
    ef: int
    """HNSW beam width for ten results."""
    wide_ef: int
    """And for a hundred."""
    oversampling: float
    queries: int
    """With how many it was measured."""
    recent: int
    """How many of them were queries that had been asked; the others are stored vectors."""
    points: int
    """In the index when it was measured."""
    measured_at: str
    """RFC 3339, UTC."""

    @property
    def reached(self) -> bool:
        return self.recall >= self.recall_target

    def suits(self, vector: VectorSpec, points: int) -> bool:
        """Whether it holds for an index of `points` points that is to be as `vector` says."""
        return (
            self.recall_target == vector.recall_target
            and abs(points - self.points) <= _GROWTH * self.points
        )

    def beam(self, top: int) -> int:
        """The beam width for `top` results: what was measured, on a straight line."""
        steps = max(0, top - NARROW) / (WIDE - NARROW)
        return round(self.ef + steps * (self.wide_ef - self.ef))

    def status(self) -> SearchSettingsStatus:
        return SearchSettingsStatus(
            recall=round(self.recall, 5),
            recall_target=self.recall_target,
            ef=self.ef,
            oversampling=self.oversampling,
            queries=self.queries,
            measured_at=self.measured_at,
        )

    def encode(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def write(self) -> str:
        return json.dumps(self.encode())


def usual(
    make: Callable[[int, float], T], vector: VectorSpec | None, tuning: Tuning | None
) -> Callable[[int], T]:
    """An engine's parameters for so many results, as they were measured if they were; each is made
    once, by `make(ef, oversampling)`."""

    @lru_cache(maxsize=1_000)
    def params(top: int) -> T:
        if tuning is None:
            return make(EF, oversampling(vector))
        return make(tuning.beam(top), tuning.oversampling)

    return params


def decoded(stored: Any) -> Tuning | None:
    """A stored tuning; None for none, or one of another release."""
    names = {field.name for field in dataclasses.fields(Tuning)}
    if not isinstance(stored, dict) or stored.keys() != names:
        return None
    return Tuning(**stored)


Datatype = Literal["Float32", "Float16"]
STORED_AS: Datatype = "Float32"
"""Beside quantised vectors half precision would do with half the disk. But it only tells vectors
apart that differ by a thousandth: of a million, recall@10 fell from .9990 to .9987."""
