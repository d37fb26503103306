"""A closed-loop HTTP load: n clients, each sending its next request when the last was answered.

Blocking sockets on keep-alive connections, one thread a client: on two cores the client must cost
far less than what it measures, which rules the usual HTTP libraries out. Loopback only.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of requests gave. Seconds."""

    seconds: tuple[float, ...]
    """One latency for each request."""
    wall: float

    @property
    def p50(self) -> float:
        return float(np.percentile(self.seconds, 50))

    @property
    def p99(self) -> float:
        return float(np.percentile(self.seconds, 99))

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.wall


class Connection:
    """One keep-alive connection that posts JSON and insists on 200."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
            raise SystemExit(f"load goes to loopback only, not to {base_url}")
        self._http = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def post(self, path: str, body: bytes) -> bytes:
        self._http.request("POST", path, body, {"content-type": "application/json"})
        response = self._http.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"POST {path}: {response.status} {answer[:300]!r}")
        return answer

    def close(self) -> None:
        self._http.close()


def closed_loop(
    base_url: str, path: str, body: Callable[[int], bytes], *, clients: int, requests: int
) -> Load:
    """Send `requests` requests from `clients` threads; `body(i)` makes the i-th request's JSON."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    failures: list[BaseException] = []
    bodies = [body(i) for i in range(requests)]
    ready = threading.Barrier(clients + 1)

    def client(number: int) -> None:
        connection = Connection(base_url)
        mine = latencies[number]
        try:
            ready.wait()
            for i in range(number, requests, clients):
                started = time.perf_counter()
                connection.post(path, bodies[i])
                mine.append(time.perf_counter() - started)
        except BaseException as failure:
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - started
    if failures:
        raise failures[0]
    return Load(tuple(s for each in latencies for s in each), wall)
