"""How busy a replica is: the basis of scaling, idleness and graceful shutdown.

Probes, metrics and the files of the search page do not count as traffic: they are requested whether
or not anyone uses the service.
"""

from __future__ import annotations

import asyncio
import time

from starlette.types import Message, Receive, Scope

from lookalike_serving.gateway.headers import has_body

_API = "/v1/"
_INTERNAL = "/internal/"
_POLL_SECONDS = 0.05
_LONGEST_SECONDS = 60.0
"""What a request may still use is not kept for longer, whatever the request waits for."""


class Traffic:
    """Counts of one gateway, kept on its event loop."""

    def __init__(self) -> None:
        self.in_flight = 0
        """Requests of the public API that are being answered: more replicas would answer more."""
        self.receiving = 0
        """Requests whose body is still arriving: the sender decides how long that takes."""
        self.last_request = time.time()
        """Unix time of the last search, upload or other change; before the first one, of the
        start, so that a new replica is not taken for one that has been idle since 1970."""
        self.draining = False
        """Whether readiness is denied, so that no new request arrives."""
        self.internal = 0
        self.visits: set[Visit] = set()
        """All that are in progress."""

    def enter(self, scope: Scope) -> Visit:
        return Visit(self, scope)

    async def drain(self, notice_seconds: float, patience_seconds: float) -> int:
        """Deny readiness, keep answering, and return when no request is in progress.

        This takes at least `notice_seconds`, in which senders of requests notice it, and at most
        `patience_seconds`. Returns the number of requests that were not finished by then.
        """
        self.draining = True
        started = time.monotonic()
        while (spent := time.monotonic() - started) < patience_seconds:
            if spent >= notice_seconds and not self._under_way:
                break
            await asyncio.sleep(_POLL_SECONDS)
        return self._under_way

    async def requests_over(self) -> None:
        """Returns when every request that is in progress now is over, or after a minute."""
        those = set(self.visits)
        until = time.monotonic() + _LONGEST_SECONDS
        while those & self.visits and time.monotonic() < until:  # noqa: ASYNC110 - as `drain` does
            await asyncio.sleep(_POLL_SECONDS)

    @property
    def _under_way(self) -> int:
        return self.receiving + self.in_flight + self.internal


class Visit:
    """One request, from its header to the end of its answer."""

    def __init__(self, traffic: Traffic, scope: Scope) -> None:
        self._traffic = traffic
        # The layers within may rewrite it.
        self._path: str = scope["path"]
        self._changes = scope["method"] in {"POST", "PUT", "PATCH", "DELETE"}
        self._received = False
        self.since = time.perf_counter()
        """When its answer was begun: its body was there, or it is answered without."""
        self._count(receiving=1)
        traffic.visits.add(self)
        self._note()
        if not has_body(scope):
            self.received()

    def watch(self, receive: Receive) -> Receive:
        """Receives the body, and notices when it is there."""
        if self._received:
            return receive

        async def watched() -> Message:
            message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                self.received()
            return message

        return watched

    def received(self) -> None:
        """Its body is there, or is not waited for."""
        if not self._received:
            self._received = True
            self.since = time.perf_counter()
            self._count(receiving=-1, in_flight=1)

    def leave(self) -> None:
        self._traffic.visits.discard(self)
        if self._received:
            self._count(in_flight=-1)
        else:
            self._count(receiving=-1)
        self._note()

    def _count(self, *, receiving: int = 0, in_flight: int = 0) -> None:
        if self._path.startswith(_API):
            self._traffic.receiving += receiving
            self._traffic.in_flight += in_flight
        elif self._path.startswith(_INTERNAL):
            self._traffic.internal += receiving + in_flight

    def _note(self) -> None:
        if self._changes and self._path.startswith(_API):
            self._traffic.last_request = time.time()
