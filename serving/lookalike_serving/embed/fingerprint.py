"""Distinguishes the vectors of one model from those of another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from lookalike_serving.embed.preprocess import Preprocessing


def fingerprint(provider: str, name: str, content: str, preprocessing: Preprocessing) -> str:
    """Hex digest. `content` identifies the weights: their SHA-256, or the seed of random ones."""
    fitting = asdict(preprocessing)
    if (
        preprocessing.kept == 1.0
    ):  # the value for all models whose vectors are older than this field
        del fitting["kept"]
    facts = {
        "provider": str(provider),
        "name": name,
        "weights": content,
        "preprocessing": fitting,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
