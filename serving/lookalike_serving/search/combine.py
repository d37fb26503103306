"""Several weighted queries -> one query vector for each collection.

Cosine: the weighted sum of the L2-normalised vectors. Its cosine with a document is the weighted
sum of the single cosines, divided by the sum's length, so one index query ranks exactly as a
weighted sum of scores would – over all documents, not over some candidates. Dot: the weighted sum
of the vectors as they are. Euclid: the weighted mean, which ranks as the weighted sum of squared
distances does. Negative weights say "but not this".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lookalike_crds.image_collection import Distance
from lookalike_serving.index.protocol import Vector
from lookalike_serving.problems import wrong
from lookalike_serving.search.request import QueryType

_CANCELLED = 1e-6
"""A sum shorter than this, of unit vectors, is rounding noise and no direction."""


@dataclass(frozen=True, slots=True)
class EmbeddedQuery:
    """One query of a request in one model's space."""

    position: int
    """Index into the request's `queries`."""
    type: QueryType
    weight: float
    vector: Vector
    """(d,) float32; L2-normalised where the collection's distance is cosine."""


@dataclass(frozen=True, slots=True)
class CombinedQuery:
    """What one collection is asked, and what it was made of."""

    distance: Distance
    parts: tuple[EmbeddedQuery, ...]
    vector: Vector
    """(d,) float32."""
    scale: float
    """A part's weight times this is its share: `vector = scale * sum(weight * part)`."""


def combine(parts: Sequence[EmbeddedQuery], distance: Distance) -> CombinedQuery:
    """Raises Problem 422 if the queries cancel one another out."""
    if distance is Distance.COSINE:
        parts = [_unit(part) for part in parts]
    total = np.zeros_like(parts[0].vector)
    for part in parts:
        total = total + np.float32(part.weight) * part.vector
    scale = 1.0
    if distance is Distance.EUCLID:
        weights = sum(part.weight for part in parts)
        if weights <= _CANCELLED:
            raise wrong(
                "queries",
                f"the weights sum to {weights:g}; with Euclidean distance the sum must be positive",
            )
        scale = 1.0 / weights
    elif distance is Distance.COSINE:
        length = float(np.linalg.norm(total))
        if length <= _CANCELLED:
            message = "the weighted queries cancel one another out: change a weight"
            raise wrong("queries", message)
        scale = 1.0 / length
    vector = np.ascontiguousarray(total * np.float32(scale), dtype=np.float32)
    return CombinedQuery(distance, tuple(parts), vector, scale)


def _unit(part: EmbeddedQuery) -> EmbeddedQuery:
    length = float(np.linalg.norm(part.vector))
    if length <= 0:
        message = "is the zero vector, which has no direction: cosine cannot compare it"
        raise wrong(f"queries[{part.position}].value", message)
    if abs(length - 1.0) < 1e-6:
        return part
    vector = part.vector / np.float32(length)
    return EmbeddedQuery(part.position, part.type, part.weight, vector)


def similarities(query: CombinedQuery, vector: Vector) -> list[float]:
    """Each part's own score with one stored vector, by the collection's distance."""
    if query.distance is Distance.EUCLID:
        return [1.0 / (1.0 + float(np.linalg.norm(p.vector - vector))) for p in query.parts]
    if query.distance is Distance.COSINE:
        vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return [float(np.dot(part.vector, vector)) for part in query.parts]
