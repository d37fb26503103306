"""KubeRay's operator on the host, its definitions in the cluster."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from e2e.cluster import binaries, definitions
from e2e.cluster.api import Api
from e2e.cluster.control_plane import free_port
from e2e.cluster.processes import Processes

NAME = "kuberay"
_MODULE = "github.com/ray-project/kuberay/ray-operator"
_SECONDS = 120.0


def start(processes: Processes, api: Api, kubeconfig: Path) -> None:
    """Start it unless it runs. Raises CannotBuild, Refused or DidNotStart."""
    program = binaries.program("ray-operator")
    sources = binaries.module_folder(binaries.KUBERAY, _MODULE)
    definitions.install(api, sorted((sources / "config" / "crd" / "bases").glob("*.yaml")))
    if processes.alive(NAME):
        return
    probes = free_port()
    processes.start(
        NAME,
        [
            program,
            f"--kubeconfig={kubeconfig}",
            # It runs outside the cluster, without the cluster's names: Ray is reached by the API.
            "--use-kubernetes-proxy",
            "--enable-leader-election=false",
            f"--health-probe-bind-address=127.0.0.1:{probes}",
            f"--metrics-addr=127.0.0.1:{free_port()}",
        ],
        environment={"POD_NAMESPACE": "default", "KUBECONFIG": str(kubeconfig)},
    )
    processes.wait(NAME, "/readyz", lambda: _answers(probes), _SECONDS)


def _answers(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
