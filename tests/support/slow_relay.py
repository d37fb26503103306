"""A slow connection to a server on loopback: a relay that passes on so many bytes a second."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

_STEP_SECONDS = 0.02


@contextlib.contextmanager
def slow_relay(url: str, bytes_per_second: int) -> Iterator[str]:
    """The address to ask instead of `url`. Each connection has its own rate."""
    to = urlsplit(url)
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    step = max(1, int(bytes_per_second * _STEP_SECONDS))

    def passed(source: socket.socket, sink: socket.socket, size: int, pause: float) -> None:
        with contextlib.suppress(OSError):
            while not ended.is_set() and (data := source.recv(size)):
                sink.sendall(data)
                time.sleep(pause)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accepted() -> None:
        while not ended.is_set():
            try:
                here, _ = listening.accept()
                there = socket.create_connection((to.hostname, to.port))
            except OSError:
                return
            for source, sink, size, pause in (
                (here, there, 65536, 0.0),
                (there, here, step, _STEP_SECONDS),
            ):
                threading.Thread(
                    target=passed, args=(source, sink, size, pause), daemon=True
                ).start()

    threading.Thread(target=accepted, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        ended.set()
        listening.close()
