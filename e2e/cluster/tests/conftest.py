"""Clusters for the tests: the control plane is shared by a module, the node by all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.cluster.control_plane import ControlPlane, control_plane
from e2e.cluster.errors import Unavailable


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    try:
        context = control_plane()
        running = context.__enter__()
    except Unavailable as reason:
        pytest.skip(f"no API server here: {reason}")
    try:
        yield running
    finally:
        context.__exit__(None, None, None)
