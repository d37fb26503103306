"""The real application: Ray Serve behind HAProxy, one replica, an Edge index."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from served import serving_config
from tests.support.pictures import encoded, plain

from lookalike_crds.config import ServingConfig, light_of
from lookalike_serving.index.open import open_index
from lookalike_serving.machine import processes
from lookalike_serving.machine.files import write_atomically
from lookalike_serving.machine.rundir import RunDirectory

pytestmark = [pytest.mark.ray, pytest.mark.slow]

DOCUMENTS = "/v1/collections/catalogue/documents"
START_SECONDS = 300.0


class Server:
    """`python -m lookalike_serving.local` on one config; started and ended by the test."""

    def __init__(self, config: ServingConfig) -> None:
        run = config.data_dir / "run"
        run.mkdir(exist_ok=True)
        path = self.config_file = run / "serving.json"
        path.write_text(config.model_dump_json(by_alias=True))
        self._log = (run / "test.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lookalike_serving.local", "--config", str(path)],
            stdout=self._log,
            stderr=self._log,
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{config.http.port}", timeout=120)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self._process.poll() is None, (run / "test.log").read_text()[-3000:]
            assert time.monotonic() < deadline, (run / "test.log").read_text()[-3000:]
            time.sleep(0.2)

    def _ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """May be called again."""
        self.client.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(180)
        self._log.close()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ServingConfig:
    return serving_config(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def server(config: ServingConfig) -> Iterator[Server]:
    server = Server(config)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(server: Server) -> httpx.Client:
    return server.client


def picture(colour: str) -> bytes:
    return encoded(plain(colour), "JPEG")


@pytest.fixture(scope="module", autouse=True)
def _stored(client: httpx.Client) -> None:
    for number, colour in enumerate(("red", "green", "blue")):
        answer = client.post(
            DOCUMENTS,
            data={"document_id": f"{colour}/1", "metadata": json.dumps({"price": number})},
            files={"image": ("x.jpg", picture(colour))},
        )
        assert answer.status_code == 201, answer.text


def test_an_uploaded_image_is_found_by_image(client: httpx.Client) -> None:
    answer = client.post("/v1/retrievers/shop/search", files={"image": ("q", picture("green"))})
    assert answer.json()["results"][0]["document_id"] == "green/1"


def test_a_text_search_with_a_filter_answers(client: httpx.Client) -> None:
    body = {"queries": [{"type": "text", "value": "a red square"}], "filters": {"price": {"gt": 0}}}
    answer = client.post("/v1/retrievers/shop/search", json=body)
    assert {r["document_id"] for r in answer.json()["results"]} == {"green/1", "blue/1"}


def test_an_escaped_id_survives_the_proxy(client: httpx.Client) -> None:
    assert client.get(f"{DOCUMENTS}/red%2F1").json()["document_id"] == "red/1"
    assert client.get(f"{DOCUMENTS}/red%2F1/image").content == picture("red")


def test_one_request_id_goes_in_and_comes_out(client: httpx.Client) -> None:
    answer = client.get("/v1/nothing", headers={"X-Request-ID": "mine"})
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert answer.json()["request_id"] == "mine"


def test_a_request_is_logged_once_and_probes_are_not(
    client: httpx.Client, config: ServingConfig
) -> None:
    client.get("/readyz")
    for name in ("first", "last"):
        client.get("/v1/models", headers={"X-Request-ID": f"logged-{name}"})
    log = config.data_dir / "run" / "test.log"
    deadline = time.monotonic() + START_SECONDS
    while "logged-last" not in log.read_text():  # the log comes by way of Ray
        assert time.monotonic() < deadline
        time.sleep(0.1)
    lines = log.read_text().splitlines()
    assert len([line for line in lines if "logged-first" in line]) == 1
    assert [line for line in lines if '"/readyz"' in line or "GET /readyz" in line] == []


def test_only_processes_that_one_machine_needs_are_started(
    client: httpx.Client, config: ServingConfig
) -> None:
    run = RunDirectory.of(config.data_dir, config.run_dir)
    # The raylet's arguments hold the commands of others.
    commands = [process.command.partition(" --")[0] for process in processes.of_run(run)]
    for needed in ("gcs_server", "raylet/raylet", "ServeReplica", "HAProxyManager"):
        assert len([command for command in commands if needed in command]) == 1, needed
    for spare in ("/monitor.py", "/dashboard/", "ray::DashboardAgent", "ProxyActor", "ray::IDLE"):
        assert [command for command in commands if spare in command] == []


def test_metrics_come_from_the_replica(client: httpx.Client) -> None:
    text = client.get("/metrics").text
    assert 'lookalike_documents{collection="catalogue"} 3.0' in text
    assert 'route="/v1/collections/{collection}/documents"' in text


def test_a_changed_config_file_is_taken_over_by_the_same_process(
    server: Server, config: ServingConfig
) -> None:
    def started() -> str:
        return next(
            line
            for line in server.client.get("/metrics").text.splitlines()
            if line.startswith("process_start_time_seconds")
        )

    def found() -> int:
        body = {"queries": [{"type": "text", "value": "a square"}]}
        return len(server.client.post("/v1/retrievers/shop/search", json=body).json()["results"])

    before = started()
    assert found() == 3
    (retriever,) = light_of(config).retrievers
    search = retriever.search.model_copy(update={"top_k": 1})
    changed = retriever.model_copy(update={"search": search})
    wanted = config.model_copy(update={"retrievers": (changed,)})
    write_atomically(server.config_file, wanted.model_dump_json(by_alias=True).encode())
    deadline = time.monotonic() + START_SECONDS
    while found() != 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert started() == before


async def test_a_stopped_server_gives_its_index_back_with_every_document(
    server: Server, config: ServingConfig
) -> None:
    """The last test of the module: it ends the server."""
    (model,) = server.client.get("/v1/models").json()["items"]
    server.stop()
    (collection,) = config.collections
    index = await open_index(
        collection, dimension=model["dimension"], fingerprint=model["fingerprint"]
    )
    assert await index.count() == 3
    await index.close()
