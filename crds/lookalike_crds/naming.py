"""Names that CLI and operator must agree on."""

from __future__ import annotations

import hashlib
import json

from lookalike_crds.image_collection import ModelSpec

_LONGEST = 63
_DIGEST = 8


def index_name(collection: str, model: ModelSpec) -> str:
    """Name of the index that holds `collection` as embedded by `model`: at most 63 characters.

    Another model has another index, so that vectors of two models never meet in one. Precision
    is left out: it changes speed, not the space.
    """
    what = json.dumps([collection, model.provider, model.name, model.weights, model.revision])
    digest = hashlib.sha256(what.encode()).hexdigest()[:_DIGEST]
    return f"{collection[: _LONGEST - _DIGEST - 1].rstrip('-')}-{digest}"
