"""How much evidence each sensitivity asks for. The figures come from `make bench-duplicates`."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike_serving.duplicates.verdicts import Sensitivity


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a copy needs.

    Keypoints show where one picture lies in the other, or hashes propose that one is the other as a
    whole; and then the pixels must agree. The pixels decide: proposals may be generous.
    """

    pdq: int
    """Hashes this near propose a copy (of 256 bits)."""
    phash: int
    """Of 64 bits."""
    inliers: int
    inlier_ratio: float
    coverage: float
    """Part of the smaller picture."""
    agreement: float
    """Part of the blocks with texture that must agree: the rest may be covered by something."""
    pixels: float
    """Part of the region's pixels that must be equally bright."""
    shift: float
    """Most that blocks may be off, at the median, in pixels of 256."""
    hues: float
    """Most of the coloured blocks that may have another hue."""


THRESHOLDS = {
    Sensitivity.STRICT: Thresholds(
        pdq=31,
        phash=8,
        inliers=15,
        inlier_ratio=0.4,
        coverage=0.08,
        agreement=0.9,
        pixels=0.96,
        shift=0.35,
        hues=0.02,
    ),
    Sensitivity.BALANCED: Thresholds(
        pdq=47,
        phash=10,
        inliers=8,
        inlier_ratio=0.3,
        coverage=0.05,
        agreement=0.45,
        pixels=0.83,
        shift=0.42,
        hues=0.05,
    ),
    Sensitivity.LOOSE: Thresholds(
        pdq=63,
        phash=12,
        inliers=6,
        inlier_ratio=0.2,
        coverage=0.04,
        agreement=0.35,
        pixels=0.7,
        shift=0.6,
        hues=0.3,
    ),
}
FEW_INLIERS = 15
"""With fewer, and no hash that is near, nothing may cover the picture: `UNCOVERED` must agree."""
UNCOVERED = 0.9
UNCOLOURED = 0.96
"""Part of the pixels that must be equally bright if one of the pictures is grey: a grey copy is as
bright as it was, and the same thing in grey is not."""
