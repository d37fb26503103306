"""The cluster under test, the operator in it, and namespaces for the modules' tests.

A node that runs already (`make cluster`) is used and left running; the operator stays in it, too,
with `LOOKALIKE_E2E_KEEP=1`, for a look around.

`LOOKALIKE_E2E_SERVING_IMAGE` names an image that the node has, built from docker/serving.Dockerfile
(`python -m e2e.cluster image`): serving and ingestion then run as they are shipped, with nothing
mounted, and so does the operator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import builds, serving_env
from e2e.cluster.api import Api
from e2e.cluster.node import Node
from e2e.cluster.paths import ROOT
from e2e.cluster.serving_env import ServingEnvironment
from e2e.conftest import SessionNode
from e2e.tests.chart import Chart
from e2e.tests.prometheus import Prometheus
from e2e.tests.stage import Stages

OPERATOR_IMAGE = "lookalike-e2e/operator:test"
_KEEP = os.environ.get("LOOKALIKE_E2E_KEEP") == "1"
_SERVING_IMAGE = os.environ.get("LOOKALIKE_E2E_SERVING_IMAGE")


@pytest.fixture(scope="session")
def node(session_node: SessionNode) -> Node:
    """The machine's node, with KubeRay's operator beside it."""
    session_node.node.up(with_kuberay=True)
    return session_node.node


@pytest.fixture(scope="session")
def api(session_node: SessionNode) -> Api:
    return session_node.api


@pytest.fixture(scope="session")
def environment(node: Node) -> ServingEnvironment:
    return serving_env.of_image(_SERVING_IMAGE) if _SERVING_IMAGE else serving_env.ensure()


@pytest.fixture(scope="session")
def operator_image(node: Node) -> str:
    """The operator's own image, built and given to the node."""
    archive = builds.build_image(
        ROOT / "docker" / "operator.Dockerfile", OPERATOR_IMAGE, arguments={"BASE": builds.BASE}
    )
    node.import_image(archive)
    archive.unlink()
    return OPERATOR_IMAGE


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
    environment: ServingEnvironment,
    prometheus: Prometheus,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Chart]:
    image = request.getfixturevalue("operator_image") if _SERVING_IMAGE else None
    chart = Chart(node.kubeconfig, environment, tmp_path_factory.mktemp("chart"))
    chart.install(image, prometheus={"url": prometheus.address})
    yield chart
    if not _KEEP:
        chart.uninstall()


@pytest.fixture(scope="session")
def stages(
    api: Api,
    chart: Chart,
    environment: ServingEnvironment,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stages:
    folder: Path = tmp_path_factory.mktemp("stages")
    return Stages(api, environment, folder)
