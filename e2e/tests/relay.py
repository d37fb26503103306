"""A forward proxy for plain HTTP: `python relay.py PORT`, in a pod.

Through it a machine outside a cluster reaches the cluster's Services by their names and, as pods
do, each of a Service's pods in turn; `kubectl port-forward` to a Service stays with one pod, and
ends with it. It needs nothing but Python.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import StreamReader, StreamWriter
from urllib.parse import urlsplit

_DROPPED = (b"connection:", b"proxy-")


async def exchange(reader: StreamReader, writer: StreamWriter) -> None:
    """One request and its answer; then the connection ends."""
    upward: asyncio.Task[None] | None = None
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *headers = head.rstrip(b"\r\n").split(b"\r\n")
        method, target, version = line.split(b" ")
        url = urlsplit(target.decode())
        path = url._replace(scheme="", netloc="").geturl() or "/"
        try:
            up = await asyncio.open_connection(url.hostname, url.port or 80)
        except OSError as failure:
            said = f"{url.netloc}: {failure}".encode()
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n" + said)
            return
        kept = [header for header in headers if not header.lower().startswith(_DROPPED)]
        first = b" ".join((method, path.encode(), version))
        up[1].write(b"\r\n".join((first, *kept, b"connection: close", b"", b"")))
        upward = asyncio.create_task(_pump(reader, up[1]))
        await _pump(up[0], writer)
        up[1].close()
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # who is gone needs no answer
    finally:
        if upward is not None:
            upward.cancel()
        writer.close()


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()


async def main(port: int) -> None:
    server = await asyncio.start_server(exchange, "0.0.0.0", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
