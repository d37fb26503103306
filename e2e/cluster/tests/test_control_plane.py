"""The small profile: etcd, the API server, the controller manager."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from e2e.cluster import definitions
from e2e.cluster.api import Api, Refused
from e2e.cluster.control_plane import ControlPlane, control_plane
from e2e.cluster.paths import ROOT
from e2e.cluster.processes import started
from e2e.cluster.waiting import until

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def api(plane: ControlPlane) -> Api:
    api = Api(plane.kubeconfig)
    definitions.install(api)
    return api


def test_it_calls_itself_by_the_version_it_was_built_from(plane: ControlPlane) -> None:
    assert Api(plane.kubeconfig).get("/version")["gitVersion"] == "v1.34.4"


def test_what_the_quickstart_applies_is_accepted(api: Api) -> None:
    for manifest in yaml.safe_load_all((ROOT / "examples" / "quickstart.yaml").read_text()):
        stored = api.apply(manifest)
        assert stored["metadata"]["generation"] == 1
        again = api.apply(manifest)
        assert again["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]


def test_a_spec_that_breaks_a_rule_is_refused_with_the_rules_message(api: Api) -> None:
    collection = next(
        each
        for each in yaml.safe_load_all((ROOT / "examples" / "quickstart.yaml").read_text())
        if each["kind"] == "ImageCollection"
    )
    collection["metadata"]["name"] = "contradiction"
    collection["spec"]["index"] = {"engine": "Edge", "qdrant": {"url": "http://qdrant:6334"}}
    with pytest.raises(Refused, match=r"index\.qdrant is for engine Qdrant: remove it") as refusal:
        api.apply(collection)
    assert refusal.value.status == 422


def test_the_controllers_work(plane: ControlPlane) -> None:
    api = Api(plane.kubeconfig)
    until(
        lambda: api.find("/api/v1/namespaces/default/serviceaccounts/default") is not None,
        "default ServiceAccount",
        120,
    )


def test_two_run_at_a_time(plane: ControlPlane) -> None:
    with control_plane() as other:
        assert other.server != plane.server
        Api(other.kubeconfig).apply(_config_map("only-in-the-other"))
        path = "/api/v1/namespaces/default/configmaps/only-in-the-other"
        assert Api(plane.kubeconfig).find(path) is None
        assert Api(other.kubeconfig).find(path) is not None


def test_the_next_one_ends_what_a_killed_test_run_left(plane: ControlPlane, tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = (
        "import os, signal, pathlib\n"
        "from e2e.cluster.control_plane import control_plane\n"
        "with control_plane() as plane:\n"
        f"    pathlib.Path({str(told)!r}).write_text(str(plane.kubeconfig.parent))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=False, timeout=300)
    folder = Path(told.read_text())
    left = [each for each in _recorded(folder) if started(each[0]) == each[1]]
    assert len(left) == 3
    with control_plane():
        assert not folder.exists()
        assert not [each for each in left if started(each[0]) == each[1]]


def _recorded(state: Path) -> list[tuple[int, str]]:
    recorded = yaml.safe_load((state / "processes.json").read_text())
    return [(each["pid"], each["started"]) for each in recorded]


def _config_map(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
