"""The real service behind its API: within a test's event loop, or on loopback in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from lookalike_crds.config import ServingConfig
from lookalike_serving.gateway.api import create_api
from lookalike_serving.service import Service

START_SECONDS = 180


def api_of(config: ServingConfig) -> FastAPI:
    """The API, which starts its service when it starts itself."""
    return create_api(lambda: Service.start(config))


@asynccontextmanager
async def client_of(api: FastAPI, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that runs in this event loop, without a socket between them."""
    async with api.router.lifespan_context(api):
        # An exception that reaches the transport is a bug: the gateway answers every failure.
        transport = httpx.ASGITransport(api, raise_app_exceptions=True)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000", **options
        ) as client:
            yield client


@contextmanager
def serving(config: ServingConfig) -> Iterator[str]:
    """The address of the service, on loopback."""
    with listening(api_of(config)) as address:
        yield address


@contextmanager
def listening(api: Any, port: int = 0) -> Iterator[str]:
    """The address of an ASGI application that uvicorn serves in a thread; 0: any port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(api, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the service did not start: see its log above")
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def answering(
    handler: type[BaseHTTPRequestHandler], tls: SSLContext | None = None
) -> Iterator[str]:
    """The address of a server on loopback that answers by `handler`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
