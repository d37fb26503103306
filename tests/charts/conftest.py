from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from chart import NAMESPACE, Helm, Object, find_helm
from e2e.cluster import binaries
from e2e.cluster.control_plane import control_plane
from e2e.cluster.errors import Unavailable
from server import Server


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    program = find_helm()
    if program is None:
        pytest.skip("there is no helm: install it, or let `make cluster` build it")
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def default_objects(helm: Helm) -> list[Object]:
    """The chart with nothing set."""
    return helm.objects()


@pytest.fixture(scope="module")
def bare_server() -> Iterator[Server]:
    """An API server that has never heard of us."""
    try:
        with control_plane() as plane:
            yield Server(binaries.program("kubectl"), plane.kubeconfig)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def server(bare_server: Server, default_objects: list[Object]) -> Server:
    """With the chart's CRDs and the namespaces that its values name."""
    crds = [o for o in default_objects if o["kind"] == "CustomResourceDefinition"]
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in (NAMESPACE, "search", "staging")
    ]
    bare_server.apply([*namespaces, *crds])
    bare_server.established(*(o["metadata"]["name"] for o in crds))
    return bare_server
