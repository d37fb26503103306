"""Names in pods: CoreDNS on the host, behind the `kube-dns` Service.

It answers for the cluster and nothing else: names outside do not resolve, by design.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from e2e.cluster import binaries, network
from e2e.cluster.api import Api
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.kubelet import DOMAIN


def start(plane: ControlPlane, api: Api, state: Path, port: int) -> None:
    corefile = state / "Corefile"
    corefile.write_text(
        textwrap.dedent(
            f"""\
            .:{port} {{
                bind {network.NODE}
                errors
                kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
                    kubeconfig {plane.kubeconfig} lookalike-e2e
                    ttl 2
                }}
            }}
            """
        )
    )
    coredns = binaries.program("coredns")
    plane.processes.start("coredns", [coredns, "-conf", corefile])
    labels = {"k8s-app": "kube-dns"}
    protocols = ("UDP", "TCP")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {
            "clusterIP": network.DNS_SERVICE,
            "ports": [
                {"name": f"dns-{p.lower()}", "port": 53, "protocol": p, "targetPort": port}
                for p in protocols
            ],
        },
    }
    # Without a selector, the Service's endpoints are ours to write.
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [network.NODE], "conditions": {"ready": True}}],
        "ports": [{"name": f"dns-{p.lower()}", "port": port, "protocol": p} for p in protocols],
    }
    api.apply(service)
    api.apply(slice_)
