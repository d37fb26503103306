"""A server that ends: it gives its index back, and answers what its clients have asked."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from pathlib import Path

import pytest
from served import Server, serving_config

from lookalike_crds.config import ServingConfig
from lookalike_serving.index.open import open_index

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CLIENTS = 8
KEY = "a-key-of-these-tests"
HEADERS = {"Authorization": f"Bearer {KEY}"}


async def test_a_stopped_server_gives_its_index_back_with_every_document(
    server: Server, config: ServingConfig
) -> None:
    """It ends the server that the tests before it share."""
    (model,) = server.client.get("/v1/models").json()["items"]
    server.stop()
    (collection,) = config.collections
    index = await open_index(
        collection, dimension=model["dimension"], fingerprint=model["fingerprint"]
    )
    assert await index.count() == 3
    await index.close()


class KeepAliveClient(threading.Thread):
    """Asks again and again on one connection, and on another when it was told that it is closed.

    Ends when no connection is to be had. Who finds one closed without having been told has lost a
    request: it cannot know whether that was carried out.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self.answers = 0
        self.lost: list[str] = []

    def run(self) -> None:
        while self._connection():
            pass

    def _connection(self) -> bool:
        """Whether another may be tried."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.connect()
        except OSError:
            return False
        for kept in itertools.count():
            try:
                connection.request("GET", "/v1/collections", headers=HEADERS)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as failure:
                if kept:
                    self.lost.append(repr(failure))
                return False
            if answer.status != 200:
                self.lost.append(str(answer.status))
                return False
            self.answers += 1
            if answer.will_close:
                return True
        return False


@pytest.mark.parametrize("answers", [1, 50], ids=["that has just come up", "that has run a while"])
def test_no_request_on_a_kept_connection_is_lost(tmp_path: Path, answers: int) -> None:
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
        while min(client.answers for client in clients) < answers:
            assert not any(client.lost for client in clients)
            time.sleep(0.05)
    finally:
        server.stop()
    for client in clients:
        client.join(60)
    assert [client.lost for client in clients] == [[]] * CLIENTS
