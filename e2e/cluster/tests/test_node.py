"""The whole node: what a pod on it can do, and what it leaves behind."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.api import Api
from e2e.cluster.images import BASE
from e2e.cluster.waiting import until
from e2e.conftest import SessionNode

pytestmark = [pytest.mark.node, pytest.mark.slow]
_SECONDS = 240
_SCRIPT = """
set -e
echo "I am $(id -u)"
echo kept > /data/file
cat /data/file
python3.11 - <<'END'
import os, socket, ssl, urllib.request
print("kubernetes.default is", socket.gethostbyname("kubernetes.default"))
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
trust = ssl.create_default_context(cafile=f"{folder}/ca.crt")
address = os.environ["KUBERNETES_SERVICE_HOST"]
token = open(f"{folder}/token").read()
request = urllib.request.Request(
    f"https://{address}/version", headers={"Authorization": f"Bearer {token}"}
)
print("the API answered", urllib.request.urlopen(request, context=trust, timeout=30).status)
END
"""


@pytest.fixture
def namespace(session_node: SessionNode) -> Iterator[str]:
    name = f"node-{secrets.token_hex(4)}"
    api = session_node.api
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    until(lambda: api.find(account) is not None, f"{account}", _SECONDS)
    yield name
    api.delete(f"/api/v1/namespaces/{name}")
    until(lambda: api.find(f"/api/v1/namespaces/{name}") is None, f"end of {name}", _SECONDS)


def test_a_pod_writes_to_its_volume_finds_names_and_reaches_the_api(
    session_node: SessionNode, namespace: str
) -> None:
    api = session_node.api
    api.apply(_claim(namespace))
    api.apply(_pod(namespace, ["sh", "-c", _SCRIPT]))
    path = f"/api/v1/namespaces/{namespace}/pods/worker"
    until(lambda: _phase(api, path) in ("Succeeded", "Failed"), "end of the pod", _SECONDS)
    log = api.text(f"{path}/log")
    assert _phase(api, path) == "Succeeded", log
    assert log.splitlines() == [
        "I am 10001",
        "kept",
        "kubernetes.default is 10.96.0.1",
        "the API answered 200",
    ]


def test_a_volume_goes_with_its_claim(session_node: SessionNode, namespace: str) -> None:
    api = session_node.api
    api.apply(_claim(namespace))
    api.apply(_pod(namespace, ["sh", "-c", "echo kept > /data/file"]))
    path = f"/api/v1/namespaces/{namespace}/pods/worker"
    until(lambda: _phase(api, path) == "Succeeded", "end of the pod", _SECONDS)
    claim = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/data"
    volume = api.get(claim)["spec"]["volumeName"]
    folder = Path(api.get(f"/api/v1/persistentvolumes/{volume}")["spec"]["local"]["path"])
    assert (folder / "file").read_text() == "kept\n"
    api.delete(path)
    api.delete(claim)
    until(lambda: api.find(f"/api/v1/persistentvolumes/{volume}") is None, "end of it", _SECONDS)
    assert not folder.exists()


def test_up_twice_restarts_nothing(session_node: SessionNode) -> None:
    before = session_node.node.processes.recorded()
    session_node.node.up()
    assert session_node.node.processes.recorded() == before


def test_a_killed_node_comes_up_again_and_leaves_nothing_when_taken_down(
    session_node: SessionNode,
) -> None:
    if session_node.found:
        pytest.skip("the node was there before this session: it is not killed")
    node, api = session_node.node, session_node.api
    api.apply(_pod("default", ["sleep", "3600"], volume=False))
    path = "/api/v1/namespaces/default/pods/worker"
    until(lambda: _phase(api, path) == "Running", "running pod", _SECONDS)
    for process in node.processes.recorded():
        os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not node.runs(), "end of the node", _SECONDS)
    assert node.leftovers()

    node.up()
    assert node.runs()
    again = session_node.api
    assert again.find(path) is None, "objects of the killed node are gone"
    again.apply(_pod("default", ["true"], volume=False))
    until(lambda: _phase(again, path) == "Succeeded", "end of the pod", _SECONDS)

    node.down()
    assert node.leftovers() == []
    node.up()


def _phase(api: Api, path: str) -> str:
    return str(api.get(path).get("status", {}).get("phase"))


def _claim(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def _pod(namespace: str, command: list[str], *, volume: bool = True) -> dict[str, Any]:
    """As restricted as the products' pods are."""
    container: dict[str, Any] = {
        "name": "main",
        "image": BASE,
        "command": command,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if volume:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        claim = {"claimName": "data"}
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": claim}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker", "namespace": namespace},
        "spec": spec,
    }
