"""The whole node: what a pod on it can do, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.tests import pods
from e2e.cluster.waiting import until
from e2e.conftest import SessionNode

pytestmark = [pytest.mark.node, pytest.mark.slow]
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
_ASK = "until wget -q -O /dev/null -T 5 -t 1 http://service/; do sleep 1; done"
_SERVER = f"({_ASK}; echo asked itself) & exec python3.11 -m http.server 8000 2>/dev/null"


def test_a_pod_writes_to_its_volume_finds_names_and_reaches_the_api(
    session_node: SessionNode, namespace: str
) -> None:
    api = session_node.api
    api.apply(pods.claim(namespace))
    api.apply(_with_volume(namespace, _SCRIPT))
    path = f"/api/v1/namespaces/{namespace}/pods/worker"
    until(lambda: pods.ended(api, path), "end of the pod", pods.SECONDS)
    log = api.text(f"{path}/log")
    assert pods.phase(api, path) == "Succeeded", log
    assert log.splitlines() == [
        "I am 10001",
        "kept",
        "kubernetes.default is 10.96.0.1",
        "the API answered 200",
    ]


def test_a_volume_goes_with_its_claim(session_node: SessionNode, namespace: str) -> None:
    api = session_node.api
    api.apply(pods.claim(namespace))
    api.apply(_with_volume(namespace, "echo kept > /data/file"))
    path = f"/api/v1/namespaces/{namespace}/pods/worker"
    until(lambda: pods.phase(api, path) == "Succeeded", "end of the pod", pods.SECONDS)
    claim = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/data"
    volume = api.get(claim)["spec"]["volumeName"]
    folder = Path(api.get(f"/api/v1/persistentvolumes/{volume}")["spec"]["local"]["path"])
    assert (folder / "file").read_text() == "kept\n"
    api.delete(path)
    api.delete(claim)
    path = f"/api/v1/persistentvolumes/{volume}"
    until(lambda: api.find(path) is None, "end of the volume", pods.SECONDS)
    assert not folder.exists()


def test_a_service_is_reached_from_another_pod_from_its_own_and_from_the_host(
    session_node: SessionNode, namespace: str
) -> None:
    api = session_node.api
    server = pods.pod(namespace, ["sh", "-c", _SERVER])
    server["metadata"] |= {"name": "server", "labels": {"app": "server"}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "service", "namespace": namespace},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    address = api.apply(service)["spec"]["clusterIP"]
    api.apply(server)
    api.apply(pods.pod(namespace, ["sh", "-c", f"{_ASK}; echo asked"]))
    asker = f"/api/v1/namespaces/{namespace}/pods/worker"
    itself = f"/api/v1/namespaces/{namespace}/pods/server/log"
    until(lambda: pods.ended(api, asker), "end of the asking pod", pods.SECONDS)
    assert api.text(f"{asker}/log") == "asked\n"
    until(lambda: "asked itself" in api.text(itself), "answer from itself", pods.SECONDS)
    with urllib.request.urlopen(f"http://{address}/", timeout=60) as answer:
        assert answer.status == 200


def test_a_service_without_pods_refuses_connections(
    session_node: SessionNode, namespace: str
) -> None:
    """Nobody else's answer comes from its address."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "empty", "namespace": namespace},
        "spec": {"selector": {"app": "none"}, "ports": [{"port": 80}]},
    }
    found = session_node.api.apply(service)
    for address in (found["spec"]["clusterIP"], "10.96.99.99"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, 80), timeout=10)


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
    api.apply(pods.pod("default", ["sleep", "3600"]))
    path = "/api/v1/namespaces/default/pods/worker"
    until(lambda: pods.phase(api, path) == "Running", "running pod", pods.SECONDS)
    for process in node.processes.recorded():
        os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not node.runs(), "end of the node", pods.SECONDS)
    assert node.leftovers()

    node.up()
    assert node.runs()
    again = session_node.api
    assert again.find(path) is None, "objects of the killed node are gone"
    again.apply(pods.pod("default", ["true"]))
    until(lambda: pods.phase(again, path) == "Succeeded", "end of the pod", pods.SECONDS)

    node.down()
    assert node.leftovers() == []
    node.up()


def _with_volume(namespace: str, script: str) -> dict[str, Any]:
    command = ["sh", "-c", script]
    return pods.pod(namespace, command, volumes=[pods.CLAIMED], mounts=[pods.AT_DATA])
