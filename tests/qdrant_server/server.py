"""Both ports over one store, in one process."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn
from tests.qdrant_server.faults import Gate
from tests.qdrant_server.grpc_api import grpc_server
from tests.qdrant_server.relay import Relay
from tests.qdrant_server.rest_api import rest_app
from tests.qdrant_server.store import Store

_CHECK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Ports:
    http: int
    grpc: int


async def serve(
    host: str,
    http_port: int,
    grpc_port: int,
    *,
    api_key: str | None = None,
    version: str | None = None,
    ready: Callable[[Ports], None],
) -> None:
    """Serve until SIGTERM or SIGINT; calls `ready` once both ports answer."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with _serving(host, http_port, grpc_port, api_key, version) as ports:
        ready(ports)
        await ended.wait()


@asynccontextmanager
async def _serving(
    host: str, http_port: int, grpc_port: int, api_key: str | None, version: str | None
) -> AsyncIterator[Ports]:
    store, gate = Store(version), Gate(api_key)
    with tempfile.TemporaryDirectory(prefix="qdrant-") as folder:
        http_socket, grpc_socket = (str(Path(folder) / name) for name in ("http", "grpc"))
        grpc = grpc_server(store, gate)
        grpc.add_insecure_port(f"unix:{grpc_socket}")
        await grpc.start()
        config = uvicorn.Config(
            rest_app(store, gate),
            uds=http_socket,
            lifespan="off",
            log_level="warning",
            # One request a connection: none is left open to be cut.
            headers=[("connection", "close")],
        )
        http = _Http(config)
        serving = asyncio.create_task(http.serve())
        while not http.started:
            if serving.done():
                await serving
            await asyncio.sleep(_CHECK_SECONDS)
        relays = [
            Relay(partial(asyncio.open_unix_connection, at), lambda: gate.faults.drop_connections)
            for at in (http_socket, grpc_socket)
        ]
        gate.dropping, gate.silencing = relays[1].reset, relays[1].silence
        try:
            yield Ports(
                await relays[0].listen(host, http_port), await relays[1].listen(host, grpc_port)
            )
        finally:
            for relay in relays:
                await relay.close()
            await grpc.stop(grace=None)
            http.should_exit = http.force_exit = True
            with suppress(asyncio.CancelledError):
                await serving


class _Http(uvicorn.Server):
    """Leaves the signals to `serve`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
