"""What a picture tells of itself, put together with what its source says of it.

The source has the last word: a row of a table that says `exif.taken_at` knows better than the
camera's clock.
"""

from __future__ import annotations

from typing import Any

from lookalike_serving.documents.metadata import MetadataChecker

EXIF = "exif"
"""The metadata key that it is under."""


def with_exif(
    said: dict[str, Any], taken: dict[str, Any], checker: MetadataChecker
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(metadata of the document, what does not fit its field and was left out)."""
    if not taken:
        return said, ()
    fitting, misfits = checker.checked({EXIF: taken})
    return over(said, fitting), tuple(f"{each.key} was left out: {each.why}" for each in misfits)


def over(upper: dict[str, Any], lower: dict[str, Any]) -> dict[str, Any]:
    """`lower` with everything that `upper` says, key by key."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = over(value, below) if both and below is not None else value
    return merged
