"""A port whose connections can be cut: bytes go to and fro until they are to be reset.

It stands before the real listeners so that "the connection is gone" is what a client sees of a
machine that went away – a reset, not an answer – while the store behind it lives on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable

_CHUNK = 1 << 16


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """Listens on one address and relays to another."""

    def __init__(
        self, upstream: Callable[[], Awaitable[Streams]], dropping: Callable[[], bool] = bool
    ) -> None:
        self._upstream = upstream
        self.mute = False
        """Nothing goes through, on any connection."""
        self.carried = 0
        """Bytes that came to the server."""
        self._dropping = dropping
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Start, or start again; answers the port, which the system chooses where `port` is 0."""
        self.mute = False
        self._server = await asyncio.start_server(self._accepted, host, port, ssl=tls)
        return int(self._server.sockets[0].getsockname()[1])

    def reset(self) -> None:
        """Cut every open connection short."""
        for writer in [*self._open]:
            _reset(writer)

    def silence(self) -> None:
        """Let nothing more through on the connections that are open, and close none."""
        self._silent |= self._open

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # by `close`
                await self._relayed(reader, writer)
        finally:
            self._open.discard(writer)
            self._silent.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _relayed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(_CHUNK)
        # The stand-in's own controls get through: how else would the fault be lifted.
        if self._dropping() and b" /__" not in first.split(b"\r\n", 1)[0]:
            _reset(writer)
            return
        upstream_reader, upstream = await self._upstream()
        try:

            def silent() -> bool:
                return self.mute or writer in self._silent

            def carried(count: int) -> None:
                self.carried += count

            if not silent():
                upstream.write(first)
                carried(len(first))
            await asyncio.gather(
                _copied(reader, upstream, silent, carried),
                _copied(upstream_reader, writer, silent),
            )
        finally:
            upstream.close()


async def _copied(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    silent: Callable[[], bool],
    carried: Callable[[int], None] = lambda count: None,
) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        while chunk := await reader.read(_CHUNK):
            if not silent():
                writer.write(chunk)
                carried(len(chunk))
                await writer.drain()
    with contextlib.suppress(ConnectionError, OSError):
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    try:
        connection = writer.get_extra_info("socket")
    except AttributeError:  # Python 3.11, of a TLS connection that has already been lost
        return
    if connection is not None:
        # Lingering for no time: closing sends RST, not FIN.
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
