"""What a pod answers on its port, asked as the operator asks it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from lookalike_crds.progress import PROGRESS_PORT_VARIABLE, Counts, Progress
from lookalike_operator.observe.progress import Progresses
from lookalike_serving.embed.arriving import Arriving
from lookalike_serving.progress_port import answering


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRESS_PORT_VARIABLE, "0")


def pod(address: str = "127.0.0.1", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "worker", "uid": "1"},
        "spec": {"containers": [{"name": "ingestion"}]},
        "status": {"phase": "Running", "podIP": address, **status},
    }


def made() -> Progress:
    now = datetime.now(UTC)
    counts = Counts(listed=10, new=3, unchanged=1, failed=2)
    return Progress(
        collection="shop",
        sources={"a": counts, "b": Counts(listed=5)},
        listed_all=True,
        images_per_second=1.5,
        eta_seconds=6.0,
        started_at=now,
        updated_at=now,
        pid=1,
    )


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/version"), ("GET", "/?a"), ("POST", "/")]
)
def test_nothing_else_is_answered(method: str, path: str, tmp_path: Path) -> None:
    with answering(made(), tmp_path) as port:
        answer = httpx.request(method, f"http://127.0.0.1:{port}{path}", trust_env=False)
    assert answer.status_code in {404, 501}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_pod_tells_how_far_it_is(address: str, tmp_path: Path) -> None:
    if address == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with answering(made(), tmp_path) as port:
        assert port is not None
        told = await Progresses(port=port).of([pod(address)])
    one = told["worker"]
    assert (one.listed, one.listed_all, one.done, one.failed) == (15, True, 6, 2)
    assert (one.images_per_second, one.eta_seconds) == (1.5, 6.0)


async def test_a_serving_pod_tells_of_the_weights_that_it_fetches(tmp_path: Path) -> None:
    serving = {**pod(), "spec": {"containers": [{"name": "serving"}]}}
    with answering(None, tmp_path) as port:
        assert port is not None
        note = Arriving(tmp_path / "vit.pt", 605_000_000, 312_000_000)
        told = await Progresses(port=port).of([serving])
        note.close()
        assert (await Progresses(port=port).of([serving]))["worker"].fetching is None
    fetching = told["worker"].fetching
    assert fetching is not None
    assert fetching.told() == "312 of 605 MB"


async def test_one_that_does_not_answer_or_does_not_run_is_left_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        asking = Progresses(port=closed.getsockname()[1], timeout=0.5)
    other = {**pod(), "spec": {"containers": [{"name": "sidecar"}]}}
    assert await asking.of([pod(), pod(phase="Pending"), other]) == {}


async def test_it_is_not_asked_again_before_it_may_be_shown_again(tmp_path: Path) -> None:
    clock = [0.0]
    progress = made()
    with answering(progress, tmp_path) as port:
        assert port is not None
        asking = Progresses(port=port, clock=lambda: clock[0])
        for clock[0], expected in ((0.0, 15), (20.0, 15), (31.0, 20)):
            assert (await asking.of([pod()]))["worker"].listed == expected
            progress.sources["b"].listed = 10


def test_a_port_that_is_taken_costs_the_run_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("", 0)) as taken:
        monkeypatch.setenv(PROGRESS_PORT_VARIABLE, str(taken.getsockname()[1]))
        with answering(made(), tmp_path) as port:
            assert port is None


class Hostile(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b" " * 65536)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endless() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


async def test_an_answer_without_end_is_cut_off(endless: int) -> None:
    assert await Progresses(port=endless).of([pod()]) == {}
