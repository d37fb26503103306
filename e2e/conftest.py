"""The machine's node, for every end-to-end test: the one that runs, else one for the session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.cluster.api import Api
from e2e.cluster.errors import Unavailable
from e2e.cluster.node import Node


@dataclass(frozen=True, slots=True)
class SessionNode:
    """A node that runs."""

    node: Node
    found: bool
    """It ran before the session, which therefore must not take it down."""

    @property
    def api(self) -> Api:
        return Api(self.node.kubeconfig)


@pytest.fixture(scope="session")
def session_node() -> Iterator[SessionNode]:
    node = Node()
    found = node.runs()
    try:
        node.up()
    except Unavailable as reason:
        pytest.skip(f"no Kubernetes node here: {reason}")
    try:
        yield SessionNode(node, found)
    finally:
        if not found:
            node.down()
