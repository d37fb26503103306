"""Ports that are free on this machine."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port below those that the kernel hands out: nobody takes it before the server does."""
    while True:
        port = random.randint(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
