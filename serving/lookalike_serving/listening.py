"""The port at which a replica hears other deployments: at its node's address alone.

Serve's replicas open one at every address of the machine, and whoever reaches it calls the replica
past the gateway, without a key (Ray 2.60; `[::]:0` in `ray.serve._private.replica`). Others call it
at the address that the node has in its Ray cluster, which is loopback where Ray listens there.
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
