"""One server for the tests that only ask it: to start one takes longer than all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from served import DOCUMENTS, Server, picture, serving_config

from lookalike_crds.config import ServingConfig
from lookalike_serving.machine.rundir import RunDirectory


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> ServingConfig:
    """What `server` serves."""
    return serving_config(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="session")
def server(config: ServingConfig) -> Iterator[Server]:
    """With documents red/1, green/1 and blue/1, of prices 0, 1 and 2.

    test_app.py and test_closed.py ask it; after them the first test of test_drain.py ends it.
    """
    RunDirectory.of(config.data_dir).make_private()
    server = Server(config)
    for number, colour in enumerate(("red", "green", "blue")):
        answer = server.client.post(
            DOCUMENTS,
            data={"document_id": f"{colour}/1", "metadata": json.dumps({"price": number})},
            files={"image": ("x.jpg", picture(colour))},
        )
        assert answer.status_code == 201, answer.text
    yield server
    server.stop()


@pytest.fixture(scope="session")
def client(server: Server) -> httpx.Client:
    return server.client
