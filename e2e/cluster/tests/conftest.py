"""Clusters for the tests: the control plane is shared by a module, the node by all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from e2e.cluster.control_plane import ControlPlane, control_plane
from e2e.cluster.errors import Unavailable
from e2e.cluster.tests.pods import SECONDS
from e2e.cluster.waiting import until
from e2e.conftest import SessionNode


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


@pytest.fixture
def namespace(session_node: SessionNode) -> Iterator[str]:
    name = f"node-{secrets.token_hex(4)}"
    api = session_node.api
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    until(lambda: api.find(account) is not None, account, SECONDS)
    yield name
    api.delete(f"/api/v1/namespaces/{name}")
    until(lambda: api.find(f"/api/v1/namespaces/{name}") is None, f"end of {name}", SECONDS)
