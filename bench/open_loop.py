"""An open-loop HTTP load: requests arrive at their times, whether or not others are answered.

What many independent callers do: a server that slows down gets no fewer of them. Loopback only.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

_SEED = 11


@dataclass
class Arrivals:
    """What became of the requests of one run."""

    wall: float = 0.0
    """Seconds from the first arrival to the last answer."""
    statuses: Counter[int | str] = field(default_factory=Counter)
    """By status; `error`: no answer."""
    seconds: list[float] = field(default_factory=list)
    """Latency of each request that was answered with 200."""
    without_retry_after: int = 0
    """Refusals with 429 that do not say when to come back."""

    @property
    def served_per_second(self) -> float:
        return self.statuses[200] / self.wall

    def percentile(self, q: float) -> float:
        """Seconds."""
        return float(np.percentile(self.seconds, q))


class _Pool:
    """Keep-alive connections, opened when none is idle."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: bytes) -> tuple[int, dict[str, str]]:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(first.split()[1]), headers

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def arrivals(
    base_url: str, path: str, body: Callable[[int], bytes], *, per_second: float, seconds: float
) -> Arrivals:
    """Send requests at random times (a Poisson process); `body(i)` makes the i-th one's JSON."""
    parts = urlsplit(base_url)
    if parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise SystemExit(f"load goes to loopback only, not to {base_url}")
    gaps = np.random.default_rng(_SEED).exponential(1 / per_second, int(per_second * seconds))
    bodies = [body(i) for i in range(len(gaps))]
    pool, result = _Pool(parts.hostname, parts.port or 80), Arrivals()

    async def one(wait: float, data: bytes) -> None:
        await asyncio.sleep(wait)
        started = time.perf_counter()
        try:
            status, headers = await pool.post(path, data)
        except (OSError, asyncio.IncompleteReadError):
            result.statuses["error"] += 1
            return
        result.statuses[status] += 1
        if status == 200:
            result.seconds.append(time.perf_counter() - started)
        elif status == 429 and "retry-after" not in headers:
            result.without_retry_after += 1

    started = time.perf_counter()
    await asyncio.gather(
        *(one(wait, data) for wait, data in zip(np.cumsum(gaps), bodies, strict=True))
    )
    result.wall = time.perf_counter() - started
    pool.close()
    return result
