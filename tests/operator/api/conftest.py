"""A real API server for the operator's tests, and a namespace of its own for each of them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

import pytest  # noqa: E402
from e2e.cluster import definitions  # noqa: E402
from e2e.cluster.api import Api  # noqa: E402
from e2e.cluster.control_plane import ControlPlane, control_plane  # noqa: E402
from e2e.cluster.errors import Unavailable  # noqa: E402
from fault_proxy import FaultProxy  # noqa: E402

from lookalike_operator.cluster import Cluster  # noqa: E402

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    context = control_plane()
    try:
        running = context.__enter__()
    except Unavailable as reason:
        pytest.skip(f"no API server here: {reason}")
    try:
        definitions.install(Api(running.kubeconfig))
        yield running
    finally:
        context.__exit__(None, None, None)


@pytest.fixture
async def cluster(plane: ControlPlane) -> AsyncIterator[Cluster]:
    async with await Cluster.connect(str(plane.kubeconfig)) as cluster:
        yield cluster


@pytest.fixture
def api(plane: ControlPlane) -> Api:
    return Api(plane.kubeconfig)


@pytest.fixture
def namespace(api: Api) -> str:
    name = f"test-{next(_numbers)}"
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy(plane.server, plane.credentials) as proxy:
        yield proxy
