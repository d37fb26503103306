"""What makes the machine a node: the scheduler, the kubelet and kube-proxy, as configured here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.cluster import binaries, network
from e2e.cluster.containers import Containerd
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.pods import CGROUP

NAME = "lookalike-node"
DOMAIN = "cluster.local"


def start_scheduler(plane: ControlPlane, state: Path) -> None:
    plane.processes.start(
        "kube-scheduler",
        [
            binaries.program("kube-scheduler"),
            f"--kubeconfig={plane.kubeconfig}",
            f"--authentication-kubeconfig={plane.kubeconfig}",
            f"--authorization-kubeconfig={plane.kubeconfig}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--cert-dir={state / 'pki'}",
        ],
    )


def start_kubelet(plane: ControlPlane, state: Path, containerd: Containerd) -> None:
    root = state / "kubelet"
    root.mkdir(parents=True, exist_ok=True)
    resolve = state / "resolv.conf"
    # Of the host's own nothing reaches a pod.
    resolve.write_text(f"nameserver {network.DNS_SERVICE}\n")
    config = _config(
        state / "kubelet.json",
        "kubelet.config.k8s.io/v1beta1",
        "KubeletConfiguration",
        {
            "address": network.NODE,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(plane.credentials.authority)},
            },
            # Only the API server has a certificate.
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{CGROUP}",
            "clusterDNS": [network.DNS_SERVICE],
            "clusterDomain": DOMAIN,
            "containerRuntimeEndpoint": f"unix://{containerd.socket}",
            "enforceNodeAllocatable": [],
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
            "failSwapOn": False,
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "podLogsDir": str(state / "pods"),
            "resolvConf": str(resolve),
            "serializeImagePulls": False,
            "healthzBindAddress": "127.0.0.1",
            "shutdownGracePeriod": "0s",
            "syncFrequency": "10s",
        },
    )
    plane.processes.start(
        "kubelet",
        [
            binaries.program("kubelet"),
            f"--config={config}",
            f"--kubeconfig={plane.kubeconfig}",
            f"--root-dir={root}",
            f"--cert-dir={root / 'pki'}",
            f"--hostname-override={NAME}",
            f"--node-ip={network.NODE}",
        ],
    )


def start_proxy(plane: ControlPlane, state: Path) -> None:
    """To be called when the node has registered: kube-proxy waits half a minute otherwise."""
    config = _config(
        state / "kube-proxy.json",
        "kubeproxy.config.k8s.io/v1alpha1",
        "KubeProxyConfiguration",
        {
            "clientConnection": {"kubeconfig": str(plane.kubeconfig)},
            "bindAddress": "0.0.0.0",
            "clusterCIDR": network.CLUSTER,
            "hostnameOverride": NAME,
            "mode": "iptables",
            # The kernel's own limits stay: setting them may be forbidden.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
        },
    )
    proxy = binaries.program("kube-proxy")
    plane.processes.start("kube-proxy", [proxy, f"--config={config}"])


def _config(path: Path, version: str, kind: str, fields: Mapping[str, Any]) -> Path:
    content = json.dumps({"apiVersion": version, "kind": kind, **fields}, indent=2)
    # kube-proxy ends when its file is written, even with the same.
    if not path.exists() or path.read_text() != content:
        path.write_text(content)
    return path
