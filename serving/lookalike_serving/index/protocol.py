"""One protocol, several engines: what the rest of the service may ask of an index.

`edge.py` runs Qdrant Edge in the process, `qdrant.py` talks gRPC to a server, `remote.py`
reaches an Edge index that another process holds. All raise the errors below and nothing else.

Scores are always "higher is better": cosine similarity, dot product, or `1 / (1 + d)` for
Euclidean distance d, which is then also in `Hit.distance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lookalike_crds import failures
from lookalike_crds.failures import FailureKind
from lookalike_serving.index.filters.ranges import End
from lookalike_serving.index.filters.tree import Filter
from lookalike_serving.index.tuning import Tuning

Vector = NDArray[np.float32]


class IndexFailure(Exception):
    """Base of everything an index raises. The message tells the remedy."""

    failure_kind: ClassVar[FailureKind] = failures.INDEX_FAILED


class IndexUnavailable(IndexFailure):
    """The engine cannot be reached or does not answer in time: the caller may retry."""

    failure_kind = failures.INDEX_UNAVAILABLE


class IndexMismatch(IndexFailure):
    """The stored index was made with other settings (dimension, distance, model)."""

    failure_kind = failures.INDEX_MISMATCH


class IndexFull(IndexFailure):
    """The disk has no room for the write: nothing of it was done, and reading continues."""

    failure_kind = failures.STORAGE_FULL


class IndexRefused(IndexFailure):
    """The engine refused the request: a filter or value it cannot serve."""

    failure_kind = failures.INDEX_REFUSED


@dataclass(frozen=True, slots=True)
class Point:
    id: str
    """UUID."""
    vector: Vector | None
    """(d,) float32; None in a payload-only index."""
    payload: dict[str, Any]
    copies: Vector | None = None
    """By the copy model; None in an index without one (`spaces.py`)."""


@dataclass(frozen=True, slots=True)
class Record:
    id: str
    payload: dict[str, Any]
    vector: Vector | None = None
    copies: Vector | None = None
    """By the copy model, if there is one and vectors were asked for."""


@dataclass(slots=True)
class Hit:
    """Not frozen: that made ten of them cost a fiftieth of the search that finds them."""

    id: str
    score: float
    payload: dict[str, Any] = field(default_factory=dict)
    distance: float | None = None
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Page:
    records: tuple[Record, ...]
    next: str | None
    """Id to pass as `after` for the following page; None at the end."""


@dataclass(frozen=True, slots=True)
class Query:
    vector: Vector
    """(d,) float32; the engine normalises it for cosine."""
    limit: int
    filter: Filter | None = None
    min_score: float | None = None
    offset: int = 0
    ef: int | None = None
    """HNSW beam width; None: what the index has found for itself, or the engine's default."""
    oversampling: float | None = None
    """With `ef`: quantised candidates for each result, to be scored in full; None as there."""
    exact: bool = False
    with_payload: bool | tuple[str, ...] = True
    """True: all; False: none; names: just these keys (dots for nested)."""
    with_vector: bool = False
    of_copies: bool = False
    """The vector is the copy model's, and is compared with those of that model, by cosine."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    points: int
    indexed_vectors: int
    dimension: int | None
    distance: str | None
    payload_indexes: dict[str, str]
    """Key -> FieldType value."""
    status: str
    """`green`, `yellow` (optimising) or `grey` (waits for an optimisation)."""
    tuning: Tuning | None = None
    """Of the search settings; None if none has been measured."""
    former_types: dict[str, list[str]] = field(default_factory=dict)
    """Field -> types that it had before: its documents may hold values of these."""


Value = str | int | bool
"""A value that engines count."""
Extent = tuple[float, float] | tuple[datetime, datetime] | None
"""The smallest and the largest value."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of a key's values are reported."""

    limit: int
    """How many, most frequent first; of equal counts the smaller value comes first."""
    contains: str | None = None
    """Only values with this in their text; case does not count."""
    also: tuple[Value, ...] = ()
    """Values that are reported in any case, after the others; with 0 if no document holds them."""


@dataclass(frozen=True, slots=True)
class ValueCounts:
    counts: tuple[tuple[Value, int], ...]
    distinct: int | None
    """How many values there are to choose from; None if more than what is read (facets.py)."""
    exact: bool
    """False: the engine only estimates, or the most frequent may not be among those told."""


@dataclass(frozen=True, slots=True)
class Spread:
    counts: tuple[int, ...]
    """Of each bucket, in order."""
    exact: bool
    """False: the engine only estimates some of them."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a document that was to be written unless it is a copy of another one."""

    copy_of: str | None = None
    """Id of the document that it is a copy of."""
    written: bool = True


class PointStore(Protocol):
    """One collection's points: what ingestion needs. Safe to use from many coroutines at once."""

    async def upsert(self, points: Sequence[Point]) -> None:
        """Write points; durable and visible to every later query when it returns."""
        ...

    async def merge_payload(self, id: str, payload: dict[str, Any]) -> None:
        """Set the given top-level keys of one point's payload; the others stay, null removes.

        Raises IndexRefused if the point does not exist, as `replace_payload` does.
        """
        ...

    async def replace_payload(self, id: str, payload: dict[str, Any]) -> None: ...

    async def delete(self, ids: Sequence[str]) -> None: ...

    async def retrieve(
        self,
        ids: Sequence[str],
        *,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> list[Record]:
        """The points that exist, in the order of `ids`; missing ones are left out."""
        ...

    async def scroll(
        self,
        *,
        filter: Filter | None = None,
        limit: int = 100,
        after: str | None = None,
        with_payload: bool | tuple[str, ...] = True,
        with_vector: bool = False,
    ) -> Page:
        """Points in id order. Stable under writes: every point that stays is seen once."""
        ...

    async def count(self, filter: Filter | None = None) -> int:
        """Exact."""
        ...

    async def info(self) -> IndexInfo: ...

    async def optimize(self) -> None:
        """Bring HNSW and quantised storage up to date with the points."""
        ...

    async def close(self) -> None: ...


class Index(PointStore, Protocol):
    """A PointStore that can be searched."""

    async def query(self, query: Query) -> list[Hit]: ...

    async def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]: ...

    async def facet(self, key: str, choice: Choice, filter: Filter | None = None) -> ValueCounts:
        """The values that the points of `filter` hold at `key`, with their numbers of points.

        Raises IndexRefused if `key` has no payload index that counts values (facets.py).
        """
        ...

    async def extent(self, key: str, filter: Filter | None = None) -> Extent:
        """The smallest and the largest value at `key`; None if no point holds one.

        Raises IndexRefused if `key` is no Integer, Float or Datetime field.
        """
        ...

    async def spread(
        self, key: str, bounds: Sequence[End | None], filter: Filter | None = None
    ) -> Spread:
        """How many points of `filter` hold a value at `key` in each bucket.

        A bucket runs from one of the bounds, which it holds, to the next, which it does not; None
        is open. A point counts once in each bucket that holds one of its values.
        """
        ...

    async def drop(self) -> None:
        """Delete the index and all its data."""
        ...
