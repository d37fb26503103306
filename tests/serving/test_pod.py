"""The commands of a serving and of an ingestion pod, run as a pod runs them (`podlike.py`)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import podlike
import pytest
from served import serving_config
from tests.qdrant_server import running
from tests.support.pictures import plain
from tests.support.ports import free_port

from lookalike_crds.config import IndexConfig, IngestionConfig, ServingConfig
from lookalike_crds.image_collection import Engine, ModelSpec, Precision, Provider
from lookalike_crds.progress import RunResult, RunState
from lookalike_crds.source_kinds import VolumeSource
from lookalike_crds.sources import SourceSpec

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SECONDS = 400.0
KEY = "a-key-of-these-tests"


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    if (reason := podlike.why_not()) is not None:
        pytest.skip(reason)


class Pod:
    """A serving pod: its config and Secrets mounted, its data on a volume."""

    def __init__(
        self,
        folder: Path,
        model: ModelSpec | None = None,
        index: IndexConfig | None = None,
        *,
        shared: Path | None = None,
    ) -> None:
        """`shared`: a volume that other pods have, too."""
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        self.data, self.mounted = shared or folder / "data", folder / "mounted"
        for each in (self.data, self.mounted):
            each.mkdir(exist_ok=True)
        os.chown(self.data, podlike.USER, podlike.USER)
        (self.mounted / "keys").write_text(f"# of the shop\n{KEY}\n")
        (self.mounted / "token").write_text("internal")
        self.log = folder / "log"
        self.config = self._config(model, index)
        if shared is not None:
            run_dir = Path("/tmp/lookalike-run")
            self.config = self.config.model_copy(update={"run_dir": run_dir})
        path = self.mounted / "serving.json"
        path.write_text(self.config.model_dump_json(by_alias=True))
        self.process = podlike.start(
            "lookalike_serving.local",
            "--config",
            str(path),
            writable=(self.data, self.mounted),
            log=self.log,
        )
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.config.http.port}",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60,
        )

    def _config(self, model: ModelSpec | None, index: IndexConfig | None) -> ServingConfig:
        plain = serving_config(self.data)
        (collection,) = plain.collections
        if model is not None:
            collection = collection.model_copy(update={"model": model})
        batches = plain.batches_index
        if index is not None:
            collection = collection.model_copy(update={"index": index})
            batches = index.model_copy(update={"name": "batches"})
        access = {
            "api_keys_file": self.mounted / "keys",
            "internal_token_file": self.mounted / "token",
        }
        return plain.model_copy(
            update={
                "collections": (collection,),
                "batches_index": batches,
                "http": plain.http.model_copy(update={"host": "0.0.0.0"}),
                "access": plain.access.model_copy(update=access),
            }
        )

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def status(self) -> int | None:
        """Of /readyz; None where nothing answers."""
        try:
            return self.client.get("/readyz").status_code
        except httpx.TransportError:
            return None

    def last_line(self) -> str:
        return self.log.read_text().strip().splitlines()[-1]

    def stop(self) -> None:
        self.client.close()
        podlike.kill(self.process)


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    pod = Pod(tmp_path_factory.mktemp("pod"))
    pod.until(lambda: "lookalike.local: ready at" in pod.log.read_text())
    yield pod
    pod.stop()


def picture(path: Path, colour: str) -> Path:
    plain(colour).save(path)
    return path


def test_it_answers_with_a_key_and_only_with_one(pod: Pod) -> None:
    assert pod.client.get("/v1/collections").json()["items"][0]["name"] == "catalogue"
    assert httpx.get(f"{pod.client.base_url}/v1/collections").status_code == 401


def test_the_log_has_no_warning_about_shared_memory(pod: Pod) -> None:
    assert "/dev/shm" not in pod.log.read_text()


def test_an_ingestion_pod_fills_its_index(pod: Pod, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    data, mounted = tmp_path / "data", tmp_path / "mounted"
    for each in (data, mounted, mounted / "images"):
        each.mkdir()
    os.chown(data, podlike.USER, podlike.USER)
    for colour in ("red", "green", "blue"):
        picture(mounted / "images" / f"{colour}.png", colour)
    (mounted / "token").write_text("internal")
    (mounted / "termination-log").touch()
    (mounted / "termination-log").chmod(0o666)
    (collection,) = pod.config.collections
    volume = VolumeSource(path=str(mounted / "images"))
    config = IngestionConfig(
        collection=collection,
        sources=(SourceSpec(name="disk", volume=volume),),
        data_dir=data,
        gateway_url=str(pod.client.base_url),
        internal_token_file=mounted / "token",
        progress_file=data / "progress.json",
    )
    (mounted / "ingestion.json").write_text(config.model_dump_json(by_alias=True))
    process = podlike.start(
        "lookalike_serving.ingest",
        "--config",
        str(mounted / "ingestion.json"),
        "--result",
        str(mounted / "termination-log"),
        "--partition",
        "0/1",
        writable=(data, mounted),
        log=tmp_path / "log",
    )
    try:
        assert process.wait(SECONDS) == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        podlike.kill(process)
    result = RunResult.model_validate_json((mounted / "termination-log").read_bytes())
    assert (result.state, result.documents) == (RunState.COMPLETED, 3)
    found = pod.client.post(
        "/v1/retrievers/shop/search",
        files={"image": ("q", (mounted / "images" / "green.png").read_bytes())},
    ).json()
    assert found["results"][0]["document_id"] == "green.png"


def test_a_changed_configuration_is_applied_by_the_same_process(pod: Pod) -> None:
    """Search defaults, and an index of another model: filled beside the one that answers, then in
    its place."""

    def started() -> str:
        lines = pod.client.get("/metrics").text.splitlines()
        return next(line for line in lines if line.startswith("process_start_time_seconds"))

    def changed(**parts: object) -> None:
        nonlocal config
        config = config.model_copy(update=parts)
        (pod.mounted / "serving.json").write_text(config.model_dump_json(by_alias=True))

    def documents() -> int:
        assert pod.status() == 200
        told = pod.client.get("/v1/collections/catalogue").json()
        return int(told["documents"])

    def default() -> int:
        [retriever] = pod.client.get("/v1/retrievers").json()["items"]
        return int(retriever["search"]["top_k"])

    config, before = pod.config, started()
    assert documents() == 3
    [former], [retriever] = config.collections, config.retrievers
    folder = pod.data / "indexes" / "other"
    at = former.index.model_copy(update={"name": "other", "path": folder})
    exact = ModelSpec(provider=Provider.DEMO, precision=Precision.FP32)
    new = former.model_copy(update={"model": exact, "index": at})
    search = retriever.search.model_copy(update={"top_k": 1})
    changed(retrievers=(retriever.model_copy(update={"search": search}),), filling=(new,))
    pod.until(lambda: default() == 1 and folder.exists())
    assert documents() == 3
    changed(collections=(new,), filling=(former,))
    pod.until(lambda: documents() == 0)
    changed(collections=(former,), filling=(new,))
    pod.until(lambda: documents() == 3)
    assert started() == before


def test_the_dead_are_buried(pod: Pod) -> None:
    """An orphan becomes pid 1's child, and must not stay a zombie when it ends."""
    first = podlike.first_process(pod.process)
    inside = ["nsenter", f"--target={first}", "--pid", "--mount", "sh", "-c"]
    orphan = subprocess.run(
        [*inside, "sleep 0.5 >/dev/null 2>&1 & echo $!"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()

    def is_listed() -> bool:
        """As zombies are, too."""
        asked = subprocess.run([*inside, f"test -e /proc/{orphan}"], check=False, timeout=60)
        return asked.returncode == 0

    pod.until(lambda: not is_listed())


def test_sigterm_denies_readiness_and_answers_what_is_under_way(pod: Pod) -> None:
    """The last of this pod: it ends it."""
    body = json.dumps({"queries": [{"type": "text", "value": "a red square"}]}).encode()
    head = (
        "POST /v1/retrievers/shop/search HTTP/1.1\r\nHost: shop\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", pod.config.http.port), 30) as slow:
        slow.settimeout(60)
        slow.sendall(head + body[:10])
        pod.until(lambda: _receiving(pod) == 1)  # asking for metrics is no traffic
        os.kill(podlike.first_process(pod.process), signal.SIGTERM)
        pod.until(lambda: pod.status() == 503)
        assert pod.client.get("/v1/collections").status_code == 200
        slow.sendall(body[10:])
        answer = b""
        while part := slow.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
    assert b'"results"' in answer
    assert pod.process.wait(60) == 0, pod.log.read_text()[-3000:]


def _receiving(pod: Pod) -> int:
    text = pod.client.get("/metrics").text
    return int(float(text.partition("\nlookalike_requests_receiving ")[2].split("\n")[0]))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """For the two tests below, which go on from one another."""
    folder = tmp_path_factory.mktemp("shared")
    folder.chmod(0o755)
    with ExitStack() as ending:
        yield Shared(folder, free_port(), free_port(), ending)


@dataclass
class Shared:
    """Pods with one volume, whose index is on a server."""

    folder: Path
    http: int
    grpc: int
    ending: ExitStack
    """What is started before its time is over."""
    pods: list[Pod] = field(default_factory=list)

    def start(self, name: str) -> Pod:
        index = IndexConfig(
            engine=Engine.QDRANT,
            name="catalogue",
            url=f"http://127.0.0.1:{self.http}",
            grpc_port=self.grpc,
        )
        pod = Pod(self.folder / name, index=index, shared=self.folder / "volume")
        self.ending.callback(pod.stop)
        self.pods.append(pod)
        return pod

    def start_index(self) -> None:
        self.ending.enter_context(running(http_port=self.http, grpc_port=self.grpc))


def test_an_index_server_that_is_away_is_waited_for(shared: Shared) -> None:
    """To end, and be started again ever later, would only add to the outage."""
    pod = shared.start("one")
    pod.until(lambda: pod.status() == 503)
    said = pod.client.get("/readyz").json()
    assert said["code"] == "index-unavailable", said
    assert str(shared.http) in said["detail"] or str(shared.grpc) in said["detail"], said
    time.sleep(10)  # longer than a server that a person looks at would wait
    assert pod.status() == 503, pod.log.read_text()[-3000:]
    shared.start_index()
    pod.until(lambda: pod.status() == 200)


def test_pods_that_share_a_volume_share_what_was_uploaded(shared: Shared) -> None:
    image = picture(shared.folder / "red.png", "red").read_bytes()
    [one] = shared.pods
    other = shared.start("other")
    other.until(lambda: other.status() == 200)
    documents = "/v1/collections/catalogue/documents"
    answer = one.client.post(documents, files={"image": image})
    assert answer.status_code == 201, answer.text
    address = f"{documents}/{answer.json()['document_id']}/image"
    one.stop()
    assert other.client.get(address).content == image


def test_a_model_without_weights_ends_it_with_the_reason_as_its_last_line(tmp_path: Path) -> None:
    model = ModelSpec(provider=Provider.TORCH_SCRIPT, name="any", weights="/weights/no.pt")
    pod = Pod(tmp_path, model)
    try:
        assert pod.process.wait(SECONDS) == 1
    finally:
        pod.stop()
    assert pod.last_line().startswith("cannot start: ")
    assert "no file /weights/no.pt" in pod.last_line()
