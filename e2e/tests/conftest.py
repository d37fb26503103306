"""The cluster under test, the operator in it, and namespaces for the modules' tests.

`KUBECONFIG` chooses another cluster than this machine's own node; `LOOKALIKE_E2E_KEEP=1` leaves
the node and the operator running afterwards, for a look around.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.api import Api
from e2e.cluster.errors import Unavailable
from e2e.cluster.node import Node
from e2e.cluster.serving_env import environment as make_environment
from e2e.tests.chart import Chart
from e2e.tests.prometheus import Prometheus
from e2e.tests.stage import Environment, Stages

_KEEP = os.environ.get("LOOKALIKE_E2E_KEEP") == "1"


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    node = Node()
    try:
        node.up(with_kuberay=True)
    except Unavailable as reason:
        pytest.skip(f"no node here: {reason}")
    yield node
    if not _KEEP:
        node.down()


@pytest.fixture(scope="session")
def api(node: Node) -> Api:
    return Api(node.kubeconfig)


@pytest.fixture(scope="session")
def environment(node: Node) -> Environment:
    return make_environment()


@pytest.fixture(scope="session")
def prometheus(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the cluster's pods by their annotations."""
    running = Prometheus(node, tmp_path_factory.mktemp("prometheus"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def chart(
    node: Node,
    environment: Environment,
    prometheus: Prometheus,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Chart]:
    chart = Chart(node.kubeconfig, environment, tmp_path_factory.mktemp("chart"))
    chart.install(prometheus={"url": prometheus.address})
    yield chart
    if not _KEEP:
        chart.uninstall()


@pytest.fixture(scope="session")
def stages(
    api: Api,
    chart: Chart,
    environment: Environment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stages:
    folder: Path = tmp_path_factory.mktemp("stages")
    return Stages(api, environment, folder)
