"""Scores that are always "higher is better", from what engines report for each distance."""

from __future__ import annotations

import numpy as np

from lookalike_crds.image_collection import Distance


def score_of(distance: Distance, reported: float) -> tuple[float, float | None]:
    """(score, distance) of a hit: a Euclidean distance d scores 1 / (1 + d)."""
    if distance is Distance.EUCLID:
        return 1.0 / (1.0 + reported), reported
    return reported, None


def engine_threshold(distance: Distance, min_score: float | None) -> float | None:
    """The engine's own threshold for `min_score`; for Euclid that is the largest distance.

    No hit reaches a Euclidean score above 1: do not ask the engine then.
    """
    if min_score is None or distance is not Distance.EUCLID:
        return min_score
    if min_score <= 0:
        return None
    # Engines compare in float32; rounding must not lose the hit that lies on the threshold.
    return float(np.nextafter(np.float32(1.0 / min_score - 1.0), np.float32(np.inf)))
