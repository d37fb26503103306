"""How busy a replica is: what scaling, idleness and a graceful end go by.

Probes, metrics and the search page's own files are no traffic: they come whether anyone uses the
service or not.
"""

from __future__ import annotations

import asyncio
import time

from starlette.types import Scope

_API = "/v1/"
_INTERNAL = "/internal/"
_POLL_SECONDS = 0.05


class Traffic:
    """Counts of one gateway, kept on its event loop."""

    def __init__(self) -> None:
        self.in_flight = 0
        """Requests of the public API that are being answered."""
        self.last_request = time.time()
        """Unix time of the last search, upload or other change; before the first one, of the
        start, so that a new replica is not taken for one that has been idle since 1970."""
        self.draining = False
        """Whether readiness is denied, so that no new request comes."""
        self._internal = 0

    def enter(self, scope: Scope) -> None:
        path: str = scope["path"]
        if path.startswith(_API):
            self.in_flight += 1
            self._note(scope)
        elif path.startswith(_INTERNAL):
            self._internal += 1

    def leave(self, path: str, scope: Scope) -> None:
        """`path`: what it was on the way in, since the layers within may rewrite it."""
        if path.startswith(_API):
            self.in_flight -= 1
            self._note(scope)
        elif path.startswith(_INTERNAL):
            self._internal -= 1

    def _note(self, scope: Scope) -> None:
        if scope["method"] in {"POST", "PUT", "PATCH", "DELETE"}:
            self.last_request = time.time()

    async def drain(self, notice_seconds: float, patience_seconds: float) -> int:
        """Deny readiness, go on answering, and return when nothing is under way.

        For `notice_seconds` at least, in which whoever sends requests here gets to know, and for
        `patience_seconds` at most. The number of requests that were not done by then.
        """
        self.draining = True
        started = time.monotonic()
        while (spent := time.monotonic() - started) < patience_seconds:
            if spent >= notice_seconds and not self.in_flight + self._internal:
                break
            await asyncio.sleep(_POLL_SECONDS)
        return self.in_flight + self._internal
