"""How much disk and memory the index of a collection takes, from its settings, before it is built.

The figures of a document are of Qdrant's engine, as `bench/size.py` finds them; that benchmark
builds indexes and prints what they take beside what is said here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lookalike_crds.image_collection import Quantization, VectorSpec

METADATA_BYTES = 300
"""Of a document, as compact JSON, if nobody says how much it is."""
_OWN_PAYLOAD_BYTES = 340
"""What a document keeps beside its metadata: its ids, address, hashes and times, compressed."""
_BLOCK_BYTES = 128
"""Payloads are stored in blocks."""
_TRACKED_BYTES = 37
"""A document's id, version and the place of its payload, on disk."""
_IDS_BYTES = 230
"""A document's id in both directions and the place of its payload, in memory."""
_FIELD_BYTES, _FIELD_MEMORY_BYTES = 45, 90
"""A document's value in the index of one field, on disk and in memory: the larger of what a number
and a keyword take."""
_LOG_BYTES = 64_000_000
"""The write-ahead log, whatever the number of documents."""
_COPIES = 3
"""Of the index, which an optimisation needs as free space while the index before it answers."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an index, in bytes."""

    name: str
    disk: int
    memory: int
    """Held while the index is open, so that no search waits for the disk."""


@dataclass(frozen=True, slots=True)
class IndexSize:
    """What an index takes. The model's memory and stored images are not part of it."""

    parts: tuple[Part, ...]

    @property
    def disk(self) -> int:
        """Bytes once the index is built."""
        return sum(part.disk for part in self.parts)

    @property
    def memory(self) -> int:
        """Bytes while searches are answered."""
        return sum(part.memory for part in self.parts)

    @property
    def free_disk(self) -> int:
        """Bytes that an optimisation of an Edge index needs beside `disk`."""
        return _COPIES * self.disk


def index_size(
    documents: int,
    dimension: int,
    vector: VectorSpec,
    *,
    copies: int | None = None,
    fields: int = 0,
    metadata_bytes: int = METADATA_BYTES,
) -> IndexSize:
    """The size of an index of `documents` vectors of `dimension` numbers.

    `copies`: numbers in a vector of the copy model (`spec.duplicates.model`), if there is one: each
    document then has a second vector, with a graph of its own. `fields`: how many fields of the
    metadata are indexed. `metadata_bytes`: of a document's metadata as compact JSON.
    """
    payload = metadata_bytes + _OWN_PAYLOAD_BYTES
    blocks = math.ceil(payload / _BLOCK_BYTES) * _BLOCK_BYTES
    parts = [
        *_searched(documents, dimension, vector),
        *([] if copies is None else _searched(documents, copies, vector, " of the copy model")),
        Part("metadata", documents * (blocks + _TRACKED_BYTES), documents * _IDS_BYTES),
        Part(
            "indexes of fields",
            fields * documents * _FIELD_BYTES,
            fields * documents * _FIELD_MEMORY_BYTES,
        ),
        Part("write-ahead log", _LOG_BYTES, 0),
    ]
    return IndexSize(tuple(part for part in parts if part.disk))


def _searched(
    documents: int, dimension: int, vector: VectorSpec, of: str = ""
) -> tuple[Part, Part, Part]:
    """The vectors of one model, and what they are searched by."""
    vectors = documents * dimension * 4
    quantised = documents * _quantised_bytes(vector.quantization, dimension)
    # Every document has 2m links at the lowest level, each as many bits as the numbers need.
    bits = max(1, math.ceil(math.log2(max(2, documents))))
    graph = documents * math.ceil(2 * vector.hnsw.m * bits / 8)
    return (
        Part("vectors" + of, vectors, 0 if vector.on_disk else vectors),
        Part("quantised vectors" + of, quantised, quantised),
        Part("graph" + of, graph, graph),
    )


def _quantised_bytes(quantization: Quantization, dimension: int) -> int:
    match quantization:
        case Quantization.NONE:
            return 0
        case Quantization.SCALAR:
            return dimension + 4
        case Quantization.BINARY:
            return math.ceil(dimension / 64) * 8
