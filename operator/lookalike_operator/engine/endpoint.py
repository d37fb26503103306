"""/metrics, /healthz and /readyz of the operator.

It is alive if the event loop runs and no worker has ended. It is ready if every kind has been
listed once, or if this process stands by for another one that leads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from lookalike_operator.metrics import CONTENT_TYPE, Metrics


class Endpoint:
    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        *,
        alive: Callable[[], str | None],
        ready: Callable[[], str | None],
    ) -> None:
        """`alive` and `ready` return None, or what is missing."""
        self._host = host
        self._port = port
        self._metrics = metrics
        app = web.Application()
        app.router.add_get("/metrics", self._scrape)
        app.router.add_get("/healthz", _telling(alive))
        app.router.add_get("/readyz", _telling(ready))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> int:
        """The port to listen on: the given one, or a free one for 0. Raises OSError."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _scrape(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _telling(
    missing: Callable[[], str | None],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def tell(_: web.Request) -> web.Response:
        what = missing()
        return web.Response(text="ok\n") if what is None else web.Response(status=503, text=what)

    return tell
