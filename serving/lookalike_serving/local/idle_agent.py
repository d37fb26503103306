"""Stands in for one of Ray's agents, on a node that needs neither: idle_agent.py NAME SESSION NODE

The raylet starts two agents, reads from files at which ports they can be asked, and ends when one
of them does.

    dashboard      as Ray's own does in a minimal installation, this one writes that it has no port
                   (-1): nobody has a dashboard
    runtime_env    the raylet starts nothing before it knows the port, and asks there for the
                   environment of a worker that has one of its own, which is refused: none of ours
                   has, and none could be made on a single machine without a network

It imports the standard library alone: Ray's take 90 and 70 MB, and 2 s each to start.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from pathlib import Path

_DASHBOARD_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
_RUNTIME_ENV_PORT = "runtime_env_agent_port"
_POLL_SECONDS = 1.0
_REFUSAL = b"this Ray makes no runtime environments: start the worker without one"


def main(name: str, session: Path, node: str) -> None:
    raylet = os.getppid()
    if name == "runtime_env":
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=_refuse_all, args=(listener,), daemon=True).start()
        _tell(session, node, _RUNTIME_ENV_PORT, listener.getsockname()[1])
    else:
        for port in _DASHBOARD_PORTS:
            _tell(session, node, port, -1)
    while os.getppid() == raylet:
        time.sleep(_POLL_SECONDS)


def _tell(session: Path, node: str, name: str, port: int) -> None:
    new = session / f"{name}_{node}.new"
    new.write_text(str(port))
    new.replace(session / f"{name}_{node}")


def _refuse_all(listener: socket.socket) -> None:
    """Answer each request with GetOrCreateRuntimeEnvReply{status: FAILED, error_message}."""
    body = b"\x08\x01\x12" + bytes([len(_REFUSAL)]) + _REFUSAL
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.settimeout(5)
                connection.recv(1 << 16)
                connection.sendall(answer)
            except OSError:
                pass


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
