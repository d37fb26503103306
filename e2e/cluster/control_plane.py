"""etcd, the API server and the controller manager: all that objects need to live."""

from __future__ import annotations

import os
import platform
import random
import shutil
import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import binaries, certificates, debian
from e2e.cluster.certificates import Credentials
from e2e.cluster.kubeconfig import write_kubeconfig
from e2e.cluster.processes import Processes, started

SERVICES = "10.96.0.0/16"
SERVICE_OF_THE_API = "10.96.0.1"
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_START_SECONDS = 180.0
_PREFIX = "lookalike-cp-"
_OWNER = "owner"


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """One that runs."""

    kubeconfig: Path
    server: str
    """`https://address:port`"""
    credentials: Credentials
    processes: Processes


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """A control plane of its own on free ports, gone at the end. Several can run at a time.

    Raises Unavailable (skip the test, with this reason) or DidNotStart (a failure).
    """
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        state = Path(folder)
        (state / _OWNER).write_text(f"{os.getpid()} {started(os.getpid())}")
        processes = Processes(state)
        try:
            yield start(state, processes, address="127.0.0.1", for_pods=False)
        finally:
            processes.stop(gently=False)


def _sweep() -> None:
    """End the control planes of test runs that were killed before they could."""
    for owner in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_OWNER}"):
        try:
            pid, start_time = owner.read_text().split()
        except (OSError, ValueError):
            # Being made or removed by another run, or another user's.
            continue
        if started(int(pid)) != start_time:
            Processes(owner.parent).stop(gently=False)
            shutil.rmtree(owner.parent, ignore_errors=True)


def start(state: Path, processes: Processes, *, address: str, for_pods: bool) -> ControlPlane:
    """Start what does not run. `for_pods`: the API is reached through its Service, too."""
    debian.ensure(*debian.CONTROL_PLANE)
    api_server = binaries.program("kube-apiserver")
    controllers = binaries.program("kube-controller-manager")
    credentials = certificates.make(
        state / "pki", _NAMES, sorted({"127.0.0.1", address, SERVICE_OF_THE_API})
    )
    ports = _ports(state)
    clients = f"http://127.0.0.1:{ports['etcd']}"
    peers = f"http://127.0.0.1:{ports['etcd-peer']}"
    processes.start(
        "etcd",
        [
            *("etcd", "--name", "default", "--data-dir", state / "etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"default={peers}", "--log-level", "warn"),
            *("--quota-backend-bytes", str(2 * 1024**3)),
        ],
        environment={"ETCD_UNSUPPORTED_ARCH": "arm64"} if platform.machine() == "aarch64" else {},
    )
    server = f"https://{address}:{ports['api']}"
    processes.start(
        "kube-apiserver",
        [
            api_server,
            f"--etcd-servers={clients}",
            f"--bind-address={address}",
            f"--secure-port={ports['api']}",
            *([f"--advertise-address={address}"] if for_pods else []),
            f"--endpoint-reconciler-type={'lease' if for_pods else 'none'}",
            f"--tls-cert-file={credentials.server_certificate}",
            f"--tls-private-key-file={credentials.server_key}",
            f"--token-auth-file={credentials.tokens}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={credentials.service_account_key}",
            f"--service-account-signing-key-file={credentials.service_account_key}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--kubelet-client-certificate={credentials.client_certificate}",
            f"--kubelet-client-key={credentials.client_key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--anonymous-auth=true",
            "--enable-priority-and-fairness=false",
            f"--cert-dir={state / 'pki'}",
        ],
    )
    kubeconfig = write_kubeconfig(
        state / "kubeconfig", server, credentials.authority, credentials.admin_token
    )
    processes.wait("kube-apiserver", "/readyz", lambda: _ready(server, credentials), _START_SECONDS)
    processes.start(
        "kube-controller-manager",
        [
            controllers,
            f"--kubeconfig={kubeconfig}",
            f"--secure-port={ports['controllers']}",
            "--bind-address=127.0.0.1",
            f"--root-ca-file={credentials.authority}",
            f"--service-account-private-key-file={credentials.service_account_key}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--controllers=*,-nodeipam,-node-route-controller,-service-lb-controller",
            f"--cert-dir={state / 'pki'}",
        ],
    )
    return ControlPlane(kubeconfig, server, credentials, processes)


def _ready(server: str, credentials: Credentials) -> bool:
    trust = ssl.create_default_context(cafile=str(credentials.authority))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
    )
    request = urllib.request.Request(
        f"{server}/readyz", headers={"Authorization": f"Bearer {credentials.admin_token}"}
    )
    try:
        with opener.open(request, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _ports(state: Path) -> dict[str, int]:
    """Ports of this state folder: free when chosen, the same ever after."""
    file = state / "ports"
    names = ("etcd", "etcd-peer", "api", "controllers", "dns")
    if not file.exists():
        file.write_text(" ".join(str(free_port()) for _ in names))
    return dict(zip(names, map(int, file.read_text().split()), strict=True))


def port(state: Path, name: str) -> int:
    """The port that a folder keeps for a part."""
    return _ports(state)[name]


def free_port() -> int:
    """Below what the kernel hands out to clients, or one of those could take it meanwhile."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
