"""Where vectors and payloads are stored: one protocol, several engines.

    index = await open_index(collection, dimension=…, fingerprint=…)

`protocol.py` defines what an index can do, and `filters/` what may be asked of payloads. The
engines are Qdrant Edge (`edge.py`), a Qdrant server (`qdrant.py`), and an Edge index of another
process (`remote.py`, served by `bulk.py`).
"""

from lookalike_serving.index.open import open_index, open_payload_index
from lookalike_serving.index.protocol import (
    Hit,
    Index,
    IndexFailure,
    IndexInfo,
    IndexMismatch,
    IndexRefused,
    IndexUnavailable,
    Page,
    Point,
    PointStore,
    Query,
    Record,
    Vector,
)

__all__ = [
    "Hit",
    "Index",
    "IndexFailure",
    "IndexInfo",
    "IndexMismatch",
    "IndexRefused",
    "IndexUnavailable",
    "Page",
    "Point",
    "PointStore",
    "Query",
    "Record",
    "Vector",
    "open_index",
    "open_payload_index",
]
