"""Search and storage settings that every engine of Qdrant shares, as bench/search.py tuned them."""

from __future__ import annotations

from typing import Literal

from lookalike_crds.image_collection import Quantization, VectorSpec

EF = 128
"""HNSW beam width where a query names none: recall@10 .999 with rescoring (bench/search.py)."""
_OVERSAMPLING = {Quantization.NONE: 1.0, Quantization.SCALAR: 2.0, Quantization.BINARY: 4.0}
QUANTILE = 0.99
"""Scalar quantisation clips components beyond this quantile, Qdrant's own recommendation."""


def oversampling(vector: VectorSpec | None) -> float:
    """Candidates taken from quantised storage for each result, to be rescored with the originals.

    Bits rank far more coarsely than bytes do; Qdrant's guide recommends 3 and more for them.
    """
    return _OVERSAMPLING[Quantization.NONE if vector is None else vector.quantization]


Datatype = Literal["Float32", "Float16"]
STORED_AS: Datatype = "Float32"
"""Beside quantised vectors half precision would do with half the disk. But it only tells vectors
apart that differ by a thousandth: of a million, recall@10 fell from .9990 to .9987."""
