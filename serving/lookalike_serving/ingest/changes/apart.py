"""Going through a whole source in a process of its own, for the process that serves.

    serving                                        apart (`apart_process.py`)
    the worker's model  <---- images to bring in --  lists, reads the table, compares
    the index, the books  <-- calls of a PointStore -- rewrites payloads, keeps accounts

When a table of metadata or a manifest changes, any image of its source may have changed with it. A
million rows are read, joined and compared in the other process, whose memory goes with it. It
holds no model and opens no index: it borrows what the serving process has open, by calls over a
socket, some hundred keys with each.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pickle
import socket
import struct
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from lookalike_crds.config import IngestionConfig
from lookalike_serving.ingest.sources import SourceError
from lookalike_serving.ingest.sources.named import Named

_LENGTH = struct.Struct("<Q")
STORE, BOOKS, POOL = "store", "books", "pool"


@dataclass(frozen=True, slots=True)
class Errand:
    """What the other process is asked to do, once."""

    config: IngestionConfig
    source: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """Of a method of something that the serving process has open."""

    number: int
    on: str
    method: str
    args: tuple[Any, ...]
    named: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    number: int
    value: Any = None
    raised: Exception | None = None


@dataclass(frozen=True, slots=True)
class GoneThrough:
    """What became of an errand."""

    wrote: bool
    """Whether anything was written."""
    named: Named | None
    """Which objects the rows of a manifest name."""


@dataclass(frozen=True, slots=True)
class Done:
    """How the errand ended."""

    gone_through: GoneThrough | None = None
    raised: Exception | None = None


class Wire:
    """Messages over a socket: pickled, since both ends are one program."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()

    @classmethod
    async def over(cls, end: socket.socket) -> Wire:
        return cls(*await asyncio.open_connection(sock=end))

    async def send(self, message: Any) -> None:
        """Raises OSError if nobody listens any more."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        async with self._sending:
            self._writer.write(_LENGTH.pack(len(data)))
            self._writer.write(data)
            await self._writer.drain()

    async def receive(self) -> Any:
        """None at the end."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            return pickle.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def sendable(error: Exception) -> Exception:
    """An error that arrives as it is; with its words alone if it cannot."""
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")


class Borrowed:
    """In the other process: something of the serving process, method by method."""

    def __init__(self, calls: Calls, on: str) -> None:
        self._calls = calls
        self._on = on

    def __getattr__(self, method: str) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            return await self._calls.make(self._on, method, args, named)

        return call


class Calls:
    """In the other process: calls that wait for their answers, many at once."""

    def __init__(self, line: Wire) -> None:
        self._line = line
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def make(self, on: str, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Raises what the method raises, and OSError if the serving process is gone."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._line.send(Call(number, on, method, args, named))
            return await answer
        finally:
            del self._waiting[number]

    async def take_answers(self) -> None:
        """Until the serving process is gone."""
        while isinstance(answer := await self._line.receive(), Answer):
            waiting = self._waiting.get(answer.number)
            if waiting is None or waiting.done():
                continue
            if answer.raised is None:
                waiting.set_result(answer.value)
            else:
                waiting.set_exception(answer.raised)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the serving process is gone"))


async def go_through(errand: Errand, lent: Mapping[str, Any]) -> GoneThrough:
    """Bring the keys of an errand to what is there, in a process of its own.

    `lent`: what the other process calls, by STORE, BOOKS and POOL. Raises SourceError, and what
    any of these raises: then keys may be left over.
    """
    async with _started() as (line, process):
        await line.send(errand)
        # What is asked for is answered in any order, so that embedding does not hold up the rest.
        answering: set[asyncio.Task[None]] = set()
        try:
            while isinstance(message := await line.receive(), Call):
                task = asyncio.create_task(_answer(line, lent, message))
                answering.add(task)
                task.add_done_callback(answering.discard)
        finally:
            for task in answering:
                task.cancel()
            await asyncio.gather(*answering, return_exceptions=True)
        if not isinstance(message, Done):
            code = await process.wait()
            raise SourceError(
                f"source {errand.source}: the process that went through it ended with {code}, as "
                "one does that runs out of memory: it is started again"
            )
        if message.raised is not None:
            raise message.raised
        assert message.gone_through is not None
        return message.gone_through


async def _answer(line: Wire, lent: Mapping[str, Any], call: Call) -> None:
    try:
        value = await getattr(lent[call.on], call.method)(*call.args, **call.named)
        answer = Answer(call.number, value)
    except Exception as error:
        answer = Answer(call.number, raised=sendable(error))
    with contextlib.suppress(OSError):
        await line.send(answer)


@contextlib.asynccontextmanager
async def _started() -> AsyncIterator[tuple[Wire, asyncio.subprocess.Process]]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lookalike_serving.ingest.changes.apart_process",
            str(theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
    line = await Wire.over(ours)
    try:
        yield line, process
    finally:
        await line.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
