"""More addresses of one stand-in, as the nodes of a cluster are of one server.

They run in the event loop of the test that starts them. Each can be killed, vanish like a machine
whose power fails, come back at the same address, and speak TLS.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from tests.qdrant_server.process import StandIn
from tests.qdrant_server.relay import Relay


class Front:
    """One node: a REST port and a gRPC port on a loopback address of its own."""

    def __init__(self, behind: StandIn, host: str, tls: ssl.SSLContext | None = None) -> None:
        upstream = ((urlsplit(behind.url).port, _HOST), (behind.grpc_port, _HOST))
        self._relays = [Relay(partial(asyncio.open_connection, h, p)) for p, h in upstream]
        self._host = host
        self.tls = tls
        self.ports = [0, 0]

    async def start(self) -> None:
        """At the ports that it had, or any."""
        self.ports = [
            await relay.listen(self._host, port, self.tls)
            for relay, port in zip(self._relays, self.ports, strict=True)
        ]

    async def kill(self) -> None:
        """Connections are reset, new ones refused."""
        for relay in self._relays:
            await relay.close()

    def vanish(self) -> None:
        """Nothing is answered and nothing closed, until it is killed."""
        for relay in self._relays:
            relay.mute = True

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://{self._host}:{self.ports[0]}"

    @property
    def grpc_port(self) -> int:
        return self.ports[1]

    @property
    def carried(self) -> int:
        """Bytes that were sent to it, since it was made."""
        return sum(relay.carried for relay in self._relays)


_HOST = "127.0.0.1"


@asynccontextmanager
async def fronts(
    behind: StandIn, count: int = 1, tls: ssl.SSLContext | None = None
) -> AsyncIterator[list[Front]]:
    """So many nodes over one stand-in: 127.0.0.1, 127.0.0.2 and so on, at the same ports."""
    async with AsyncExitStack() as stack:
        made = [Front(behind, f"127.0.0.{number}", tls) for number in range(1, count + 1)]
        for front in made:
            front.ports = [*made[0].ports]
            await front.start()
            stack.push_async_callback(front.kill)
        yield made
