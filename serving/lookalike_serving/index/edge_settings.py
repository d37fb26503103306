"""A collection's vector settings as Qdrant Edge's configuration, and the tuned search defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

from lookalike_crds.image_collection import Distance, FieldType, Quantization, VectorSpec
from lookalike_serving.index.spaces import CopySpace, in_each
from lookalike_serving.index.tuning import QUANTILE, Datatype

INDEXING_THRESHOLD_KB = 10_000
"""Segments with fewer KB of vectors are searched one by one; that is quick enough for them."""
_MAX_SEGMENT_KB = 1_000_000_000
"""One graph of all vectors: of 1M x 512, three graphs with a beam of 128 find as many neighbours as
one with a beam of 200, and take twice the time and three times the CPU."""
_FULL_SCAN_KB = (10_000, 64_000)
"""Filters that leave fewer KB of vectors than this are answered by a scan, which is exact: between
Qdrant's default, and what a scan of quantised vectors compares in some 10 ms."""
_SCANNED_SHARE = 1 / 8
"""Of all vectors, below which a scan costs no more than a search of the graph that has to find a
way around what the filter leaves out; larger ones would keep searches without a filter from it."""

_DISTANCES = {
    Distance.COSINE: edge.Distance.Cosine,
    Distance.DOT: edge.Distance.Dot,
    Distance.EUCLID: edge.Distance.Euclid,
}

_SCHEMAS = {
    FieldType.KEYWORD: edge.PayloadSchemaType.Keyword,
    FieldType.INTEGER: edge.PayloadSchemaType.Integer,
    FieldType.FLOAT: edge.PayloadSchemaType.Float,
    FieldType.BOOL: edge.PayloadSchemaType.Bool,
    FieldType.DATETIME: edge.PayloadSchemaType.Datetime,
    FieldType.GEO: edge.PayloadSchemaType.Geo,
    FieldType.TEXT: edge.PayloadSchemaType.Text,
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """KB of vectors, as Qdrant counts them."""

    indexing: int
    """A segment with more of them gets a graph."""
    full_scan: int
    """A filter that leaves fewer of them is answered by a scan."""
    segments: int = 1
    """What an optimisation leaves, at most."""


def thresholds(points: int, dimension: int, segments: int = 1) -> Thresholds:
    """For an index of `points` vectors of `dimension` numbers."""
    least, most = _FULL_SCAN_KB
    share = round(points * dimension * 4 / 1024 * _SCANNED_SHARE)
    return Thresholds(INDEXING_THRESHOLD_KB, min(most, max(least, share)), segments)


def edge_config(
    vector: VectorSpec,
    dimension: int,
    datatype: Datatype,
    limits: Thresholds | None = None,
    copies: CopySpace | None = None,
) -> edge.EdgeConfig:
    limits = limits or thresholds(0, dimension)

    def params(size: int, distance: Distance) -> edge.EdgeVectorParams:
        return edge.EdgeVectorParams(
            size=size,
            distance=_DISTANCES[distance],
            datatype=getattr(edge.VectorStorageDatatype, datatype),
            memory=edge.Memory.Cold if vector.on_disk else edge.Memory.Cached,
        )

    return edge.EdgeConfig(
        vectors=in_each(params, dimension, vector.distance, copies),
        hnsw_config=edge.HnswIndexConfig(
            m=vector.hnsw.m,
            ef_construct=vector.hnsw.ef_construct,
            full_scan_threshold=limits.full_scan,
        ),
        quantization_config=_quantization(vector.quantization),
        optimizers=edge.EdgeOptimizersConfig(
            default_segment_number=limits.segments,
            max_segment_size=_MAX_SEGMENT_KB,
            indexing_threshold=limits.indexing,
        ),
        wal_enabled=True,
    )


def payload_only_config() -> edge.EdgeConfig:
    # Edge demands a vector of some kind; a sparse one may be absent from every point.
    return edge.EdgeConfig(sparse_vectors={"none": edge.EdgeSparseVectorParams()}, wal_enabled=True)


def _quantization(quantization: Quantization) -> Any:
    match quantization:
        case Quantization.NONE:
            return None
        case Quantization.SCALAR:
            return edge.ScalarQuantizationConfig(
                edge.ScalarType.Int8, quantile=QUANTILE, memory=edge.Memory.Pinned
            )
        case Quantization.BINARY:
            return edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned)


def search_params(ef: int, exact: bool, oversampling: float) -> edge.SearchParams:
    if exact:
        return edge.SearchParams(
            exact=True, quantization=edge.QuantizationSearchParams(ignore=True)
        )
    return edge.SearchParams(
        hnsw_ef=ef,
        quantization=edge.QuantizationSearchParams(rescore=True, oversampling=oversampling),
    )


def payload_schema(field_type: FieldType) -> Any:
    """What `create_field_index` takes."""
    match field_type:
        case FieldType.KEYWORD:
            return edge.KeywordIndexParams(prefix=True)
        case FieldType.TEXT:
            # As payload_indexes.py says.
            return edge.TextIndexParams(tokenizer=edge.TokenizerType.Word, lowercase=True)
        case _:
            return _SCHEMAS[field_type]


def field_type_of(schema: Any) -> FieldType | None:
    """The field type of a stored payload index; None for one we never make."""
    return next((ours for ours, theirs in _SCHEMAS.items() if theirs == schema), None)
