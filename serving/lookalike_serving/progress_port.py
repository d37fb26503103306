"""Answers on a port how far a pod is: to the operator, which shows it in a resource's status.

An ingestion pod tells of its run, and any pod of the weights that it fetches: a serving pod answers
no other request before it has them. Numbers only, no names: whoever reaches the pod may read them.
In a thread of its own, so that it answers while the event loop is busy, and one request after the
other, so that many of them cost the pod nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from lookalike_crds.progress import PROGRESS_PORT_VARIABLE, Progress, WorkerProgress
from lookalike_serving.embed.arriving import arriving

log = logging.getLogger("lookalike.progress")


@contextlib.contextmanager
def answering(progress: Progress | None, weights: Path) -> Iterator[int | None]:
    """If the variable gives a port (0: any); gives the one that is used. A pod does not fail for
    it: the status shows less then. `progress`: of the run, in an ingestion pod. `weights`: the
    folder that models are fetched to."""
    port = os.environ.get(PROGRESS_PORT_VARIABLE)
    if not port:
        yield None
        return
    try:
        server = _Server(int(port), progress, weights)
    except (OSError, ValueError, OverflowError) as error:
        log.warning("%s=%s cannot be used: %s", PROGRESS_PORT_VARIABLE, port, error)
        yield None
        return
    thread = threading.Thread(target=server.serve_forever, name="progress port", daemon=True)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(HTTPServer):
    def __init__(self, port: int, progress: Progress | None, weights: Path) -> None:
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        # Pods have addresses of either kind.
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        self.socket = socket.create_server(("", port), family=family, dualstack_ipv6=both)
        self._progress, self._weights = progress, weights

    def told(self) -> WorkerProgress:
        told = WorkerProgress() if self._progress is None else WorkerProgress.of(self._progress)
        return told.model_copy(update={"fetching": arriving(self._weights)})


class _Handler(BaseHTTPRequestHandler):
    timeout = 2
    server: _Server

    def do_GET(self) -> None:
        if self.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = self.server.told().model_dump_json().encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not every half minute."""
