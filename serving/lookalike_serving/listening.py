"""The port at which a replica listens for other deployments: only at the address of its node.

Serve's replicas open one at every address of the machine, and anyone who connects to it calls the
replica without passing the gateway and without a key (Ray 2.60; `[::]:0` in
`ray.serve._private.replica`). Other deployments call it at the address that the node has in its Ray
cluster, which is loopback if Ray listens there.
"""

from __future__ import annotations

import ray
from ray._common.network_utils import build_address
from ray.serve._private import replica


def listen_on_this_node() -> None:
    """In a replica, before it has started: while its callable is made, say."""
    original = replica.add_port_to_grpc_server

    def at_this_node(server: object, address: str) -> int:
        port = address.rpartition(":")[2]
        return int(original(server, build_address(ray.util.get_node_ip_address(), port)))

    replica.add_port_to_grpc_server = at_this_node
