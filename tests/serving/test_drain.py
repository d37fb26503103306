"""A server that ends while clients keep their connections: each request of theirs is answered."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import pytest
from served import serving_config
from test_app import Server

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CLIENTS = 8
KEY = "a-key-of-these-tests"


class KeepAliveClient(threading.Thread):
    """Asks again and again on one connection, until an answer says that it is closed."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.answers = 0
        self.told = False
        self.lost: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {"Authorization": f"Bearer {KEY}"}
        while not self.told and not self.lost:
            try:
                connection.request("GET", "/v1/collections", headers=headers)
                answer = connection.getresponse()
                answer.read()
            except OSError as failure:
                self.lost.append(repr(failure))
                continue
            if answer.status != 200:
                self.lost.append(f"{answer.status}")
            self.answers += 1
            self.told = answer.will_close


def test_no_request_on_a_kept_connection_is_lost(tmp_path: Path) -> None:
    plain = serving_config(tmp_path)
    (tmp_path / "keys").write_text(KEY)
    config = plain.model_copy(
        update={
            # As in a pod: who is told of the end by readiness needs a moment to notice.
            "http": plain.http.model_copy(update={"host": "0.0.0.0"}),
            "access": plain.access.model_copy(update={"api_keys_file": tmp_path / "keys"}),
        }
    )
    server = Server(config)
    clients = [KeepAliveClient(config.http.port) for _ in range(CLIENTS)]
    try:
        for client in clients:
            client.start()
        while min(client.answers for client in clients) < 20:
            assert not any(client.lost for client in clients)
    finally:
        server.stop()
    for client in clients:
        client.join(60)
    assert [client.lost for client in clients] == [[]] * CLIENTS
    assert all(client.told for client in clients)
