"""Answers that nobody waits for any more are given up; changes that have begun are finished.

A caller who has closed the connection, or whose time is over, must not delay those who still wait:
the answer is cancelled wherever it is, so that its picture is not embedded and its query leaves the
queue of the index (`while_wanted`). A change would be half done if it were cancelled, so it is not,
though Ray Serve cancels every request whose caller has left (`Finishing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Header
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lookalike_crds.failures import DEADLINE_EXCEEDED
from lookalike_serving.gateway.context import seconds_since_arrival
from lookalike_serving.problems import Problem
from lookalike_serving.together import to_its_end

T = TypeVar("T")

LONGEST_SECONDS = 3600.0
RequestTimeout = Annotated[
    float,
    Header(
        alias="X-Request-Timeout",
        gt=0,
        le=LONGEST_SECONDS,
        allow_inf_nan=False,
        description="Seconds from the arrival of the request after which its answer is of no use. "
        "It is then given up, and answered with 504.",
    ),
]


class Finishing:
    """ASGI middleware: a request that may change something runs to its end when it is cancelled.

    If its body is still arriving, that end is near: the body ends with the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
        else:
            await to_its_end(self._app(scope, receive, send))


class CallerLeft(Exception):
    """The connection is closed: there is nobody to answer."""


async def while_wanted(request: Request, seconds: float, answering: Coroutine[Any, Any, T]) -> T:
    """What `answering` returns, unless the caller leaves or `seconds` have passed first.

    The body has been read. Raises CallerLeft, Problem 504, and what `answering` raises.
    """
    task = asyncio.current_task()
    assert task is not None
    left = False

    def give_up(leaving: asyncio.Task[None]) -> None:
        nonlocal left
        left = True
        task.cancel()

    leaving = asyncio.create_task(_left(request))
    leaving.add_done_callback(give_up)
    remaining = seconds - seconds_since_arrival(request.scope)
    try:
        async with asyncio.timeout(remaining) as time_left:
            return await answering
    except asyncio.CancelledError:
        if not left:
            raise
        task.uncancel()
        raise CallerLeft from None
    except TimeoutError:
        if not time_left.expired():
            raise
        raise Problem(
            DEADLINE_EXCEEDED,
            f"The answer was not there within the {seconds:g} s that X-Request-Timeout allows: "
            "allow more time, or try again when the service is less busy.",
        ) from None
    finally:
        leaving.remove_done_callback(give_up)
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
