"""How this machine reaches a cluster: its API, and its Services."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from e2e.cluster import binaries, restricted
from e2e.cluster.api import Api, Object
from e2e.cluster.control_plane import free_port
from e2e.cluster.kubeconfig import write_kubeconfig
from e2e.tests import relay
from e2e.tests.waiting import until, until_ready

_RELAY = "relay"
_PORT = 8080
_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Route:
    """To Services: by their cluster addresses, or by a relay in the cluster."""

    relay: str | None = None
    """Its address on this machine."""

    def to(self, service: Object) -> str:
        """Where a Service's first port is."""
        meta, port = service["metadata"], service["spec"]["ports"][0]["port"]
        within = f"{meta['name']}.{meta['namespace']}.svc"
        host = service["spec"]["clusterIP"] if self.relay is None else within
        return f"http://{host}:{port}"

    def client(self, address: str, **more: Any) -> httpx.Client:
        # Whatever proxy the machine's environment names, this is not for it.
        return httpx.Client(base_url=address, proxy=self.relay, trust_env=False, **more)


@contextmanager
def api_proxy(kubeconfig: Path, folder: Path) -> Iterator[Path]:
    """A kubeconfig of plain HTTP to this machine, for any, however its user proves itself.

    `kubectl proxy` knows certificates, tokens and the plugins of clouds, and listens on loopback.
    """
    command = [binaries.found("kubectl"), "--kubeconfig", kubeconfig, "proxy", "--port=0"]
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        served = re.search(r"127\.0\.0\.1:\d+", line)
        if served is None:
            raise AssertionError(f"kubectl proxy did not start: {line}{process.stdout.read()}")
        yield write_kubeconfig(folder / "kubeconfig", f"http://{served[0]}")
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def relayed(api: Api, kubeconfig: Path, namespace: str, image: str) -> Iterator[Route]:
    """A relay as a pod of the namespace, and a port of this machine that leads to it."""
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _RELAY},
            "data": {"relay.py": Path(relay.__file__).read_text()},
        },
        namespace,
    )
    container = {
        "image": image,
        "command": ["python3", "/relay/relay.py", str(_PORT)],
        "readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": _RELAY, "mountPath": "/relay"}],
    }
    code = {"name": _RELAY, "configMap": {"name": _RELAY}}
    pod = restricted.pod(_RELAY, container, automountServiceAccountToken=False, volumes=[code])
    api.apply(pod, namespace)
    path = f"/api/v1/namespaces/{namespace}/pods/{_RELAY}"
    until_ready(api, path)
    with _forwarded(kubeconfig, namespace) as port:
        yield Route(f"http://127.0.0.1:{port}")
    api.delete(path)


@contextmanager
def _forwarded(kubeconfig: Path, namespace: str) -> Iterator[int]:
    """`kubectl port-forward`, started again whenever it loses its connection."""
    port = free_port()
    command = [
        *(str(binaries.found("kubectl")), "--kubeconfig", str(kubeconfig)),
        *("port-forward", "--namespace", namespace, f"pod/{_RELAY}", f"{port}:{_PORT}"),
    ]
    ended = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        while not ended.wait(0.5):
            running[:] = [subprocess.Popen(command, stdout=subprocess.DEVNULL)]
            running[0].wait()

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        until("port of the relay", lambda: _listens(port), _SECONDS, lambda: "see kubectl above")
        yield port
    finally:
        ended.set()
        for process in running:
            process.terminate()
        thread.join(30)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
