"""Generated requests against our own description: what it says is what happens, and nothing is 5xx.

Bounded and derandomised: each run makes the same requests, to a server in this process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from lookalike_crds.config import ServingConfig
from lookalike_serving.gateway.api import create_api
from lookalike_serving.service import Service

NOT_ASKED = [
    # Not all that a request must hold can be said in a schema: an image is one that can be decoded,
    # a cursor one that we made.
    positive_data_acceptance,
]
CASES = 40
"""Of each operation."""

KNOWN = {"collection": "catalogue", "retriever": "shop", "document_id": "red"}

OPERATIONS = [
    (method.upper(), path)
    for path, methods in create_api(Service.start).openapi()["paths"].items()  # type: ignore[arg-type]
    for method in methods
]


class Running:
    """The API on loopback, and its description."""

    def __init__(self, config: ServingConfig) -> None:
        app = create_api(lambda: Service.start(config))
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        deadline = time.monotonic() + 120
        while not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.schema = schemathesis.openapi.from_dict(app.openapi())

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)


@pytest.fixture(scope="module")
def api(serving: Callable[..., ServingConfig], picture: Any) -> Iterator[Running]:
    api = Running(serving())
    added = httpx.post(
        f"{api.address}/v1/collections/catalogue/documents",
        data={"document_id": "red", "metadata": '{"price": 1, "status": "active"}'},
        files={"image": ("red.jpg", picture("red"))},
        timeout=60,
    )
    assert added.status_code == 201
    yield api
    api.stop()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_the_description_says_is_what_happens(api: Running, method: str, path: str) -> None:
    operation = api.schema[path][method]
    cases = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if operation.body:  # and bodies that are wrong
        cases |= operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @given(case=cases, known=st.integers(0, 3))
    @settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def conforms(case: Any, known: int) -> None:
        if known:  # mostly what is there: what is not says 404 before anything else is looked at
            names = {n: v for n, v in KNOWN.items() if n in (case.path_parameters or {})}
            case.path_parameters = {**(case.path_parameters or {}), **names}
        answer = case.call(base_url=api.address, timeout=60)
        case.validate_response(answer, excluded_checks=NOT_ASKED)

    conforms()


def test_every_operation_is_tried() -> None:
    assert len(OPERATIONS) >= 20
