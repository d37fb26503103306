"""A large Edge shard in a process of its own, so that nothing it does stops the server.

Edge holds Python's interpreter lock through every call, `load` among them: 3 to 5 s for a million
points of 512. Here that is another interpreter's lock. The serving process keeps the folder's
lock, the manifest and the order of writes (`edge_store.py`); this process only carries out calls of
`ShardEngine`, one after the other. Both ends are in this file:

    parent -> child   the ShardPlace to open, then (operation, args, kwargs), each pickled
    child -> parent   (True, result) or (False, exception), in the same order

Pickles are safe here: they pass only between a process and the child that it started, over a
socket without a name. The child inherits the folder's lock, so that whoever opens the folder after
its parent was killed waits until the child has ended too; it ends when the socket does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from typing import Any, cast

from lookalike_serving.index.edge_engine import Operation, P, ShardEngine, ShardPlace, T
from lookalike_serving.index.protocol import IndexFailure, IndexUnavailable

log = logging.getLogger(__name__)

_LENGTH = struct.Struct("<Q")
_CLOSE_SECONDS = 60.0
"""For the calls before it, and the last flush. What is acknowledged is durable without."""


def _frame(value: Any) -> bytes:
    body = pickle.dumps(value, protocol=5)
    return _LENGTH.pack(len(body)) + body


class ShardProcess:
    """The parent's end: a `Shard`. Make one with `start`."""

    def __init__(self, process: subprocess.Popen[bytes], channel: _Channel) -> None:
        self._process = process
        self._channel = channel

    @classmethod
    async def start(cls, place: ShardPlace, lock: int) -> ShardProcess:
        """Returns when the shard is loaded. `lock`: the folder's, which the child keeps held."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            process = _child(theirs.fileno(), lock)
        _, channel = await asyncio.get_running_loop().create_unix_connection(
            lambda: _Channel(f"the process of the index in {place.folder}"), sock=ours
        )
        started = cls(process, channel)
        try:
            await channel.ask(place)
        except BaseException:
            await started._end()
            raise
        return started

    @property
    def ended(self) -> bool:
        return self._channel.lost

    async def call(self, operation: Operation[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await self._channel.ask((operation, args, kwargs))
        return result

    async def close(self) -> None:
        """Returns when the process has ended, and with it its hold on the folder's lock."""
        try:
            # One that has died has nothing to close; one that does not end is killed.
            with contextlib.suppress(IndexUnavailable, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self.call(ShardEngine.close)
        finally:
            await self._end()

    async def _end(self) -> None:
        self._channel.close()
        self._process.kill()
        await asyncio.shield(asyncio.to_thread(self._process.wait))


def _child(channel: int, lock: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, str(channel)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(channel, lock),
    )


class _Channel(asyncio.Protocol):
    """Requests out, answers in, in the same order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._transport: asyncio.Transport | None = None
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._received = bytearray()
        self.lost = False

    async def ask(self, request: Any) -> Any:
        if self._transport is None or self.lost:
            raise self._ended()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._transport.write(_frame(request))
        self._asked.append(answer)
        return await answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _ended(self) -> IndexUnavailable:
        return IndexUnavailable(
            f"{self._name} ended unexpectedly (perhaps for lack of memory): it is started again; "
            "try again soon"
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # It is one of a stream. Those of uvloop are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received)
            end = _LENGTH.size + length
            if len(self._received) < end:
                return
            with memoryview(self._received) as view:
                good, value = pickle.loads(view[_LENGTH.size : end])
            del self._received[:end]
            answer = self._asked.popleft()
            if answer.done():  # whoever asked was cancelled
                continue
            if good:
                answer.set_result(value)
            else:
                answer.set_exception(value)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(self._ended())


# The child's end


def _read(channel: socket.socket) -> Any:
    """The next request. Raises EOFError when the parent is gone."""
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    return pickle.loads(_exactly(channel, length))


def _exactly(channel: socket.socket, count: int) -> bytearray:
    read = bytearray(count)
    with memoryview(read) as view:
        filled = 0
        while filled < count:
            got = channel.recv_into(view[filled:])
            if got == 0:
                raise EOFError
            filled += got
    return read


def _failure(error: Exception) -> IndexFailure:
    if isinstance(error, IndexFailure):
        return error
    log.error("a call of the index failed", exc_info=error)
    return IndexFailure(f"{type(error).__name__}: {error}")


def serve(channel: socket.socket) -> None:
    """Open the shard that is asked for and carry out calls until the parent is gone."""
    engine: ShardEngine | None = None
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            request = _read(channel)
            try:
                if engine is None:
                    engine, result = ShardEngine.load(request), None
                else:
                    operation, args, kwargs = request
                    result = operation(engine, *args, **kwargs)
                answer = _frame((True, result))
            except Exception as error:
                answer = _frame((False, _failure(error)))
            channel.sendall(answer)


if __name__ == "__main__":
    # Whoever ends the server with Ctrl-C or a signal to the whole group still closes it in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(socket.socket(fileno=int(sys.argv[1])))
