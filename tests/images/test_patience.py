"""Fetching from hosts that say that they are busy."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import pytest
from tests.support.servers import answering

from lookalike_crds.config import FetchPolicy
from lookalike_serving.images import ImageError, ImageFetcher
from lookalike_serving.images.errors import Busy, Code
from lookalike_serving.images.patience import ATTEMPTS, LONGEST_WAIT, HostLimits, PatientFetcher

PICTURE = (200, None)


class Host(BaseHTTPRequestHandler):
    """Answers what is next in the list: (status, Retry-After)."""

    answers: ClassVar[list[tuple[int, str | None]]] = []

    def do_GET(self) -> None:
        status, after = self.answers.pop(0)
        self.send_response(status)
        if after is not None:
            self.send_header("Retry-After", after)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with answering(Host) as url:
        yield f"{url}/a.jpg"


class Time:
    """Goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def read(url: str, *answers: tuple[int, str | None]) -> float:
    """Seconds waited until the picture came. Raises what the fetcher raises."""
    Host.answers[:] = answers
    time = Time()
    fetcher = ImageFetcher(FetchPolicy(allow_private_addresses=True))
    try:
        patient = PatientFetcher(fetcher, sleep=time.sleep, clock=lambda: time.now)
        assert await patient.read(url) == b"x"
    finally:
        await fetcher.close()
    return time.now


async def test_a_host_is_left_alone_for_as_long_as_it_asks(url: str) -> None:
    assert await read(url, (429, "7"), (503, "20"), PICTURE) == 27


async def test_a_date_is_understood_and_one_that_has_passed_is_no_wait(url: str) -> None:
    assert await read(url, (503, "Thu, 01 Jan 2015 00:00:00 GMT"), PICTURE) == 0


async def test_waits_grow_where_the_host_does_not_say(url: str) -> None:
    assert 2 < await read(url, (503, None), (429, "soon"), PICTURE) < 4


async def test_a_host_that_asks_for_too_long_is_left_to_the_next_run(url: str) -> None:
    with pytest.raises(ImageError, match="429 Too Many Requests: try again later") as failed:
        await read(url, (429, str(int(LONGEST_WAIT) + 1)))
    assert failed.value.code is Code.HTTP_STATUS


async def test_a_host_that_stays_busy_is_given_up(url: str) -> None:
    with pytest.raises(Busy):
        await read(url, *[(503, "1")] * ATTEMPTS)
    assert Host.answers == []


async def test_other_errors_are_told_at_once(url: str) -> None:
    with pytest.raises(ImageError, match="404"):
        await read(url, (404, "5"))


def test_what_a_host_asked_for_crosses_processes() -> None:
    copied = pickle.loads(pickle.dumps(Busy(Code.HTTP_STATUS, "told", 3.0)))
    assert (copied.code, copied.message, copied.retry_after) == (Code.HTTP_STATUS, "told", 3.0)


async def test_a_host_is_asked_as_often_per_second_as_the_source_allows(url: str) -> None:
    Host.answers[:] = [PICTURE] * 5
    time = Time()
    fetcher = ImageFetcher(FetchPolicy(allow_private_addresses=True))
    limits = HostLimits(at_once=2, per_second=4)
    try:
        patient = PatientFetcher(fetcher, limits, sleep=time.sleep, clock=lambda: time.now)
        for _ in range(5):
            await patient.read(url)
    finally:
        await fetcher.close()
    assert time.now == pytest.approx(1.0)
