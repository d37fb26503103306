"""A real HTTP proxy before a real API server, that answers some requests itself, or breaks them.

It runs in a thread of its own, forwards with the admin's token, streams watches line by line, and
remembers each request: a test that says "nothing is written" counts here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import aiohttp
from aiohttp import web
from e2e.cluster.certificates import Credentials
from kubernetes.aio.client import Configuration

from lookalike_operator.cluster import Cluster, OnCall, Timeouts

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    query: str

    @property
    def watches(self) -> bool:
        return "watch=true" in self.query

    @property
    def writes(self) -> bool:
        return self.method in WRITES


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of a request."""

    status: int = 0
    """Answered by the proxy; 0: the connection is closed without an answer."""
    reason: str = "InternalError"
    retry_after: int | None = None
    forwarded: bool = False
    """The server does it all the same; only the answer is lost."""


Rule = Callable[[Call], Fault | None]


@dataclass
class FaultProxy:
    server: str
    credentials: Credentials
    rule: Rule | None = None
    calls: list[Call] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._watches: set[asyncio.Transport] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def cluster(self, timeouts: Timeouts | None = None, on_call: OnCall | None = None) -> Cluster:
        """A client that goes through here. To be made in the loop that uses it."""
        return Cluster(Configuration(host=self.url), timeouts=timeouts, on_call=on_call)

    def cut_watches(self) -> int:
        """Break every watch that runs. Gives their number."""

        async def cut() -> int:
            watches = list(self._watches)
            for watch in watches:
                watch.abort()
            return len(watches)

        return self._do(cut())

    @property
    def writes(self) -> list[Call]:
        return [call for call in list(self.calls) if call.writes]

    # -- inside ------------------------------------------------------------------------------------

    def _do(self, work):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        trust = ssl.create_default_context(cafile=str(self.credentials.authority))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=0),
            headers={"Authorization": f"Bearer {self.credentials.admin_token}"},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=2**21,
            auto_decompress=False,
        )
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        # Handlers of watches wait for the next line for ever.
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, request.path, request.query_string)
        self.calls.append(call)
        fault = self.rule(call) if self.rule else None
        if fault is not None and not fault.forwarded:
            return self._broken(request, fault)
        body = await request.read()
        async with self._session.request(
            request.method,
            f"{self.server}{request.path_qs}",
            data=body or None,
            headers={k: v for k, v in request.headers.items() if k in ("Content-Type", "Accept")},
        ) as answer:
            if call.watches and answer.status == 200:
                return await self._stream(request, answer)
            content = await answer.read()
            if fault is not None:
                return self._broken(request, fault)
            return web.Response(status=answer.status, body=content, content_type="application/json")

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if request.transport is not None:
            self._watches.add(request.transport)
        try:
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                async for line in answer.content:
                    await response.write(line)
        finally:
            if request.transport is not None:
                self._watches.discard(request.transport)
        return response

    def _broken(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.status == 0:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": fault.status,
            "reason": fault.reason,
            "message": f"injected {fault.reason}",
        }
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return web.Response(
            status=fault.status,
            text=json.dumps(status),
            content_type="application/json",
            headers=headers,
        )
