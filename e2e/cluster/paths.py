"""Where things lie: the cache outlives checkouts, the state of the node lies in it."""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
"""The checkout."""


def cache() -> Path:
    """`LOOKALIKE_CACHE`, else `~/.cache/lookalike`."""
    given = os.environ.get("LOOKALIKE_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "lookalike"


def node_state() -> Path:
    """The node's state: one node a machine, so one folder."""
    return cache() / "node"
