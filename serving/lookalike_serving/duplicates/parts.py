"""Parts of a query that may be a picture of their own: of a collage, a screenshot, a page.

The embedding of a whole collage is near to none of its pictures. Those of its parts are.
"""

from __future__ import annotations

import numpy as np

from lookalike_serving.duplicates.hashes import Pixels

_PARTS = (
    (0.0, 0.0, 0.5, 0.5),
    (0.5, 0.0, 1.0, 0.5),
    (0.0, 0.5, 0.5, 1.0),
    (0.5, 0.5, 1.0, 1.0),
    (0.15, 0.15, 0.85, 0.85),
)
"""Left, top, right, bottom: the quarters, and the middle half."""
_LEAST = 32


def parts(view: Pixels) -> list[Pixels]:
    """The quarters and the middle; none of a picture that is too small for it."""
    high, wide = view.shape[:2]
    if min(high, wide) < 2 * _LEAST:
        return []
    return [
        np.ascontiguousarray(
            view[round(top * high) : round(bottom * high), round(left * wide) : round(right * wide)]
        )
        for left, top, right, bottom in _PARTS
    ]
