"""The vectors of a point: of the collection's model, and of its copy model if it has one.

An index without a copy model has one vector for each point, without a name. With one, it has two,
which the engine keeps apart by name: each has a graph of its own. A point never lacks one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from lookalike_crds.image_collection import Distance
from lookalike_serving.index.protocol import IndexRefused, Query, Vector
from lookalike_serving.index.values import checked_vector

T = TypeVar("T")

OWN, COPIES = "image", "copies"
"""Names of the two vectors."""


@dataclass(frozen=True, slots=True)
class CopySpace:
    """The vectors of a copy model, which are compared by cosine."""

    dimension: int
    fingerprint: str


def in_each(
    make: Callable[[int, Distance], T], dimension: int, distance: Distance, space: CopySpace | None
) -> T | dict[str, T]:
    """What an engine is told of the vectors of a collection. `make` tells it of one of them, by its
    dimension and distance."""
    own = make(dimension, distance)
    if space is None:
        return own
    return {OWN: own, COPIES: make(space.dimension, Distance.COSINE)}


def points_of(vectors: int, space: CopySpace | None) -> int:
    """How many points have vectors, of which an engine counts each."""
    return vectors // (1 if space is None else 2)


def distance_of(query: Query, own: Distance) -> Distance:
    """By which a query is compared, in a collection with the distance `own`."""
    return Distance.COSINE if query.of_copies else own


def checked_vectors(
    own: Vector | None, copies: Vector | None, dimension: int, space: CopySpace | None, id: str
) -> Any:
    """What an engine stores for a point. Raises IndexRefused."""
    checked = checked_vector(own, dimension, f"the vector of {id}")
    if space is None:
        if copies is not None:
            raise IndexRefused(f"{id}: this index has no vectors of a copy model")
        return checked
    of_copies = checked_vector(copies, space.dimension, f"the copy model's vector of {id}")
    return {OWN: checked, COPIES: of_copies}


def checked_query(
    query: Query, dimension: int | None, space: CopySpace | None
) -> tuple[Any, str | None]:
    """(the vector, the name of those that it is compared with). Raises IndexRefused."""
    if query.of_copies and space is None:
        raise IndexRefused("this index has no vectors of a copy model to search")
    wanted = space.dimension if query.of_copies and space is not None else dimension
    name = None if space is None else COPIES if query.of_copies else OWN
    return checked_vector(query.vector, wanted, "the query vector"), name


def own_of(stored: Any) -> Vector | None:
    """The vector of the collection's model, of what an engine returns."""
    return _array(stored.get(OWN) if isinstance(stored, dict) else stored)


def copies_of(stored: Any) -> Vector | None:
    """The vector of the copy model, of what an engine returns."""
    return _array(stored.get(COPIES)) if isinstance(stored, dict) else None


def _array(stored: Any) -> Vector | None:
    return np.asarray(stored, dtype=np.float32) if stored else None
