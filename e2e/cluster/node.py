"""One whole Kubernetes node on this machine: brought up, asked about, taken down.

`up` starts what does not run. Where the node was not taken down but killed, what it left is
cleared first, and it starts from nothing: objects live as long as the node does.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import (
    binaries,
    control_plane,
    debian,
    dns,
    images,
    kubelet,
    kuberay,
    network,
    pods,
    volumes,
)
from e2e.cluster.api import Api
from e2e.cluster.containers import Containerd
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import Unavailable
from e2e.cluster.locks import locked
from e2e.cluster.paths import ROOT, node_state
from e2e.cluster.processes import Processes

_SECONDS = 240.0
_LONGEST_STATE = 70
"""A socket's path has at most 107 characters, and the kubelet adds some thirty."""
_HEART = ("etcd", "kube-apiserver", "containerd")
_PARTS = (
    *_HEART,
    *("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns", "volumes"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """One program of the node."""

    name: str
    runs: bool
    log: Path


class Node:
    """The machine's node, whether it runs or not."""

    def __init__(self, state: Path | None = None) -> None:
        self.state = (state or node_state()).absolute()
        self.kubeconfig = self.state / "kubeconfig"
        self.processes = Processes(self.state)
        self.containerd = Containerd(self.state, self.processes)
        self._cni = self.state / "cni" / "net.d"

    def up(self, *, with_kuberay: bool = False) -> None:
        """Bring up what does not run. Raises Unavailable or DidNotStart."""
        if os.geteuid() != 0:
            raise Unavailable("a node needs root: containers, interfaces, iptables")
        if len(str(self.state)) > _LONGEST_STATE:
            raise Unavailable(
                f"{self.state} is too long for the sockets in it: choose a --state-dir of at most "
                f"{_LONGEST_STATE} characters"
            )
        debian.ensure()
        binaries.ensure(binaries.KUBERNETES)
        with locked(self.state / "lock"):
            if not self._heart_beats():
                self._clear()
            self._start()
            if with_kuberay:
                kuberay.start(self.processes, Api(self.kubeconfig), self.kubeconfig)

    def down(self) -> None:
        """End it and leave nothing but logs: no process, mount, interface, chain."""
        with locked(self.state / "lock"):
            self._clear()

    def runs(self) -> bool:
        """Whether every part does."""
        return all(self.processes.alive(name) for name in _PARTS)

    def parts(self) -> list[Part]:
        names = [*_PARTS, *([kuberay.NAME] if self.processes.log(kuberay.NAME).exists() else [])]
        alive = self.processes.alive
        return [Part(name, alive(name), self.processes.log(name)) for name in names]

    def leftovers(self) -> list[str]:
        """What would be there of it, and should not, when it is down."""
        running = [part.name for part in self.parts() if part.runs]
        return running + pods.leftovers(self.state) + network.leftovers()

    def import_image(self, archive: Path) -> None:
        """Put an image from an archive (docker or OCI) where pods find it."""
        self.containerd.load(archive)

    def _heart_beats(self) -> bool:
        return all(self.processes.alive(name) for name in _HEART)

    def _start(self) -> None:
        network.up(self._cni, control_plane.SERVICES)
        pods.make_control_group()
        self.containerd.start(self._cni)
        self._load(images.pause())
        self._load(images.base())
        plane = control_plane.start(self.state, self.processes, address=network.NODE, for_pods=True)
        api = Api(plane.kubeconfig)
        kubelet.start_scheduler(plane, self.state)
        kubelet.start_kubelet(plane, self.state, self.containerd)
        dns.start(plane, api, self.state, control_plane.port(self.state, "dns"))
        api.apply(volumes.CLASS)
        self._start_volumes(plane)
        node = f"/api/v1/nodes/{kubelet.NAME}"
        wait = self.processes.wait
        wait("kubelet", "node that registers", lambda: api.find(node) is not None, _SECONDS)
        kubelet.start_proxy(plane, self.state)
        wait("kubelet", "node that is Ready", lambda: _ready(api, node), _SECONDS)
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wait(
            "kube-controller-manager",
            "default ServiceAccount",
            lambda: api.find(account) is not None,
            _SECONDS,
        )

    def _load(self, archive: Path) -> None:
        """Once for each content, which the archive's name tells."""
        loaded = self.state / "loaded" / archive.name
        if not loaded.exists():
            self.containerd.load(archive)
            loaded.parent.mkdir(exist_ok=True)
            loaded.touch()

    def _start_volumes(self, plane: ControlPlane) -> None:
        self.processes.start(
            "volumes",
            [
                *(sys.executable, "-m", "e2e.cluster.volumes", "--kubeconfig", plane.kubeconfig),
                *("--folder", self.state / "volumes"),
            ],
            environment={"PYTHONPATH": str(ROOT)},
        )

    def _clear(self) -> None:
        self.processes.stop("kubelet")
        if self.processes.alive("containerd"):
            self.containerd.end_everything()
        self.processes.stop(gently=False)
        pods.clear(self.state)
        network.down(self._cni)
        for path in self.state.iterdir():
            if path.name in ("logs", "lock"):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _ready(api: Api, node: str) -> bool:
    conditions = api.get(node).get("status", {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
