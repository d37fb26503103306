"""The cluster under test, the operator in it, and namespaces for the modules' tests.

A node that runs already (`make cluster`) is used and left running; the operator stays in it, too,
with `LOOKALIKE_E2E_KEEP=1`, for a look around. What else can be set is in e2e/tests/target.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import builds
from e2e.cluster.api import Api
from e2e.cluster.paths import ROOT
from e2e.conftest import SessionNode
from e2e.tests import prometheus as prometheus_pod
from e2e.tests import target as targets
from e2e.tests.chart import Chart
from e2e.tests.prometheus import Prometheus
from e2e.tests.qdrant import allowed_addresses
from e2e.tests.stage import Stages
from e2e.tests.target import Target

_OPERATOR_IMAGE = "lookalike-e2e/operator:test"
_KEEP = os.environ.get("LOOKALIKE_E2E_KEEP") == "1"


@pytest.fixture(scope="session")
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    if given := os.environ.get(targets.KUBECONFIG):
        try:
            with targets.named(Path(given), tmp_path_factory.mktemp("route")) as target:
                yield target
        except targets.Unfit as reason:
            pytest.exit(str(reason), returncode=2)
    else:
        session_node: SessionNode = request.getfixturevalue("session_node")
        session_node.node.up(with_kuberay=True)
        yield targets.of_node(session_node.node)


@pytest.fixture(scope="session")
def api(target: Target) -> Api:
    return target.api


@pytest.fixture(scope="session")
def operator_image(target: Target, request: pytest.FixtureRequest) -> str:
    """The operator's own image, where the cluster finds it."""
    if target.operator_image is not None:
        return target.operator_image
    archive = builds.build_image(
        ROOT / "docker" / "operator.Dockerfile", _OPERATOR_IMAGE, arguments={"BASE": builds.BASE}
    )
    session_node: SessionNode = request.getfixturevalue("session_node")
    session_node.node.import_image(archive)
    archive.unlink()
    return _OPERATOR_IMAGE


@pytest.fixture(scope="session")
def chart(
    target: Target,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Chart]:
    # Out of the serving environment where that is mounted: no image is to be built for that.
    shipped = target.environment.app is None
    image = request.getfixturevalue("operator_image") if shipped else None
    chart = Chart(target, tmp_path_factory.mktemp("chart"))
    chart.install(
        image,
        prometheus={"url": prometheus_pod.ADDRESS},
        # On the node KubeRay's operator is outside, and asks by way of the API server.
        kuberay={"namespace": "kuberay"},
        qdrant={"allowedAddresses": allowed_addresses()},
    )
    yield chart
    if not _KEEP:
        chart.uninstall()
        target.api.delete(f"/api/v1/namespaces/{targets.SYSTEM}")


@pytest.fixture(scope="session")
def prometheus(target: Target, chart: Chart) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the cluster's pods by their annotations; the operator asks it."""
    running = Prometheus(target)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def stages(target: Target, chart: Chart, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    folder: Path = tmp_path_factory.mktemp("stages")
    return Stages(target, folder)
