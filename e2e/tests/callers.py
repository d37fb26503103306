"""Callers that go on asking while pods come and go, and count what is not answered.

Half of them keep their connections and half open one for each request. They are strict: a request
that fails counts as lost, even if a client that repeats it would not have noticed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from e2e.tests.endpoint import Endpoint

_TIMEOUT_SECONDS = 60.0


@dataclass(slots=True)
class Tally:
    """What the callers saw."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    """When (seconds from the start), by whom and how each was lost."""


@contextmanager
def calling(
    endpoint: Endpoint, callers: int, *, pause: float = 0.0, at_most: float = 600.0
) -> Iterator[Tally]:
    """So many callers, each with one request after the other, until the block ends.

    `pause`: seconds between two requests of a caller. `at_most`: seconds after which they end in
    any case.
    """
    tally, lock, ended, began = Tally(), threading.Lock(), threading.Event(), time.monotonic()

    def ask(number: int) -> None:
        keeps = number % 2 == 0
        connection: HTTPConnection | None = None
        count = 0
        while not ended.wait(pause) and time.monotonic() - began < at_most:
            count += 1
            if connection is None:
                connection, kept = _connection(endpoint), 0
            try:
                status, closes = _search(endpoint, connection, f"a red mug {number} {count}", keeps)
                failure = None if status == 200 else f"answered {status}"
            except (OSError, HTTPException) as error:
                failure, closes = f"{type(error).__name__}: {error}", True
            with lock:
                if failure is None:
                    tally.answered += 1
                else:
                    kind = f"request {kept + 1} of a connection" if keeps else "a single request"
                    tally.lost.append(f"{time.monotonic() - began:.1f} s, {kind}: {failure}")
            kept += 1
            if closes:
                connection.close()
                connection = None

    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        ended.set()
        for thread in threads:
            thread.join(_TIMEOUT_SECONDS + 10)


def _connection(endpoint: Endpoint) -> HTTPConnection:
    url = urlsplit(endpoint.route.relay or endpoint.address)
    return HTTPConnection(url.hostname or "", url.port, timeout=_TIMEOUT_SECONDS)


def _search(
    endpoint: Endpoint, connection: HTTPConnection, words: str, keeps: bool
) -> tuple[int, bool]:
    """The status of the answer, and whether the connection ends with it."""
    place = endpoint.address if endpoint.route.relay else ""
    headers = {
        "Authorization": f"Bearer {endpoint.key}",
        "Content-Type": "application/json",
        "Connection": "keep-alive" if keeps else "close",
    }
    body = json.dumps({"queries": [{"type": "text", "value": words}]})
    connection.request("POST", f"{place}/v1/retrievers/{endpoint.retriever}/search", body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.will_close or not keeps
