"""The way to a Qdrant server, kept open through what happens to servers and networks.

A server that restarts or moves is away for seconds. Every call that the project makes may be
repeated without harm – points have ids of their own – so a call that finds the server away is
made again for as long as its caller has patience: a moment for a search, minutes for an
ingestion. A refused API key is read again from its file, since keys are replaced while we run.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient

from lookalike_crds.config import IndexConfig
from lookalike_crds.image_collection import DEFAULT_GRPC_PORT
from lookalike_serving.index.protocol import IndexFailure, IndexUnavailable
from lookalike_serving.index.qdrant_errors import CollectionLost, KeyRefused, translated

log = logging.getLogger("lookalike.index")

IN_MEMORY = ":memory:"
TIMEOUT_SECONDS = 20
"""Of one call."""
_FEW_CALLS_SECONDS = 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_CHANNEL = {
    # gRPC's own pauses between attempts to connect grow to two minutes: a server that is back
    # would be taken for dead as long.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 2_000,
    # Despite its name the time that one attempt to connect may take.
    "grpc.min_reconnect_backoff_ms": 5_000,
    # A machine that vanishes closes no connection. Without pings the kernel would go on sending
    # to it for a quarter of an hour, although a new server answers at the same address.
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    # Newer versions of gRPC go by this one, a minute unless it is set.
    "grpc.http2.ping_timeout_ms": 5_000,
    "grpc.http2.max_pings_without_data": 0,
}

T = TypeVar("T")


class Connection:
    """A client of one server, and its replacement where the API key was replaced."""

    def __init__(
        self,
        client: AsyncQdrantClient,
        where: str,
        *,
        patience_seconds: float = 0.0,
        reconnect: Callable[[], AsyncQdrantClient | None] = lambda: None,
    ) -> None:
        """`reconnect` answers a client with a newer API key; None where there is none."""
        self.client = client
        self.where = where
        self.patience_seconds = patience_seconds
        self._reconnect = reconnect
        self._closing: set[asyncio.Task[None]] = set()

    async def call(self, doing: str, make: Callable[[AsyncQdrantClient], Awaitable[T]]) -> T:
        """What `make` gets from the server. `doing` begins the message of a failure.

        Raises IndexFailure and nothing else.
        """
        deadline = time.monotonic() + self.patience_seconds
        pause = _FIRST_PAUSE
        while True:
            client = self.client
            try:
                with translated(doing, self.where):
                    return await make(client)
            except KeyRefused:
                if not self._renewed(client):
                    raise
            except CollectionLost:
                raise
            except IndexUnavailable as failure:
                # A server that bids to wait says for how long.
                wait = getattr(failure.__cause__, "retry_after_s", 0) or pause * _jitter()
                if time.monotonic() + wait > deadline:
                    raise
                if pause == _FIRST_PAUSE:
                    log.warning("%s; trying again for %g s", failure, self.patience_seconds)
                await asyncio.sleep(wait)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def close(self) -> None:
        await asyncio.gather(*self._closing)
        await self.client.close()

    def _renewed(self, refused: AsyncQdrantClient) -> bool:
        """Whether there is another client to try than the one that was refused."""
        if self.client is not refused:
            return True  # another call has seen to it
        client = self._reconnect()
        if client is None:
            return False
        self.client = client
        # What is under way on the old one comes to its end first.
        closing = asyncio.create_task(refused.close(grpc_grace=float(TIMEOUT_SECONDS)))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return True


def connected(
    url: str, grpc_port: int | None, api_key_file: Path | None, *, patience_seconds: float
) -> Connection:
    """A connection to `url`, which follows its API key's file. Does not connect yet."""
    used = read_key(api_key_file)

    def reconnect() -> AsyncQdrantClient | None:
        nonlocal used
        key = read_key(api_key_file)
        if key == used:
            return None
        used = key
        log.info("the API key of Qdrant at %s was replaced: connecting with the new one", url)
        return client_of(url, grpc_port, key)

    return Connection(
        client_of(url, grpc_port, used),
        url,
        patience_seconds=patience_seconds,
        reconnect=reconnect,
    )


@asynccontextmanager
async def connection_of(index: IndexConfig) -> AsyncIterator[Connection]:
    """A connection to the server that an index is on, for a few calls."""
    assert index.url is not None, "only indexes on a server have a connection"
    connection = connected(
        index.url, index.grpc_port, index.api_key_file, patience_seconds=_FEW_CALLS_SECONDS
    )
    try:
        yield connection
    finally:
        await connection.close()


def read_key(api_key_file: Path | None) -> str | None:
    """The API key in the file, without what surrounds it. Raises IndexFailure."""
    if api_key_file is None:
        return None
    try:
        return api_key_file.read_text("utf-8-sig").strip()
    except OSError as error:
        raise IndexFailure(
            f"index.api_key_file {api_key_file} cannot be read: {error.strerror}"
        ) from error


def client_of(url: str, grpc_port: int | None, api_key: str | None) -> AsyncQdrantClient:
    """A client that has not connected yet; of REST alone where `grpc_port` is None.

    Raises IndexFailure where `url` is no address.
    """
    if url == IN_MEMORY:
        return AsyncQdrantClient(location=IN_MEMORY)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise IndexFailure(
            f"index.url {url!r} is no address of a Qdrant server: write http(s)://host:port"
        )
    with warnings.catch_warnings():
        # Inside a cluster a key over plain HTTP is usual; whoever wants TLS writes https.
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        return AsyncQdrantClient(
            url=url,
            grpc_port=grpc_port or DEFAULT_GRPC_PORT,
            prefer_grpc=grpc_port is not None,
            api_key=api_key,
            timeout=TIMEOUT_SECONDS,
            grpc_options=dict(_CHANNEL),
            check_compatibility=False,  # it would ask the server here, blocking the event loop
        )


def _jitter() -> float:
    """Those who lost the server together do not all come back at once."""
    return random.uniform(0.75, 1.25)
