"""The application of a RayService: what it refuses, and what it takes over without a restart."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from served import DOCUMENTS, picture, serving_config
from tests.support.ports import free_port

from lookalike_crds.config import LightConfig, ServingConfig, heavy_of, light_of
from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_crds.progress import PROGRESS_PORT_VARIABLE, WorkerProgress
from lookalike_serving.kuberay import config_of

DRIVER = Path(__file__).with_name("kuberay_driver.py")
SECONDS = 300


def test_what_is_wrong_with_the_arguments_is_named(tmp_path: Path) -> None:
    config = serving_config(tmp_path).model_dump(mode="json", by_alias=True)
    for args, told in (
        ({}, "expected `config`"),
        ({"config": config, "more": 1}, "found more"),
        ({"config": {**config, "data_dir": None}}, "config.data_dir"),
        ({"config": config, "metrics_port": "x"}, "metrics_port: 'x' is no port"),
        ({"config": {**config, "http": {"host": "0.0.0.0"}}}, "anyone on the network"),
    ):
        with pytest.raises(ValueError, match=re.escape(told)):
            config_of(args)


class RayService:
    """Serve, given its config as KubeRay gives it; see `kuberay_driver.py`."""

    def __init__(self, folder: Path) -> None:
        self.config = serving_config(folder)
        # A replica that cannot start is given up at once, not after three attempts.
        environment = {**os.environ, "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1"}
        self.metrics_port, self.progress_port = free_port(), free_port()
        environment[PROGRESS_PORT_VARIABLE] = str(self.progress_port)
        self.log = folder / "driver.log"
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.config.http.port}", timeout=30)
        with self.log.open("w") as log:
            self._driver = subprocess.Popen(
                [sys.executable, str(DRIVER), str(folder), str(self.config.http.port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                env=environment,
            )

    def deploy(self, light: LightConfig, config: ServingConfig | None = None) -> None:
        """`serveConfigV2` with another user_config, and of another config if one is given."""
        heavy = heavy_of(config or self.config).model_dump(
            mode="json", by_alias=True, exclude_defaults=True
        )
        deployment = {"name": "Retriever", "num_replicas": 1, "user_config": light.as_json()}
        application = {
            "name": "lookalike",
            "route_prefix": "/",
            "import_path": "lookalike_serving.kuberay:build",
            "args": {"config": heavy, "metrics_port": self.metrics_port},
            "deployments": [deployment],
        }
        assert self._driver.stdin is not None
        self._driver.stdin.write(json.dumps({"applications": [application]}) + "\n")
        self._driver.stdin.flush()

    def status(self) -> str:
        """What Serve says of the application, as KubeRay copies it."""
        assert self._driver.stdin is not None
        self._driver.stdin.write("status\n")
        self._driver.stdin.flush()
        told = [line for line in self.log.read_text().splitlines() if "ApplicationStatus" in line]
        return told[-1] if told else ""

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass
            assert self._driver.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def retriever(self) -> dict[str, Any]:
        answer = self.client.get("/v1/retrievers/shop")
        return answer.json() if answer.status_code == 200 else {}

    def started(self) -> float:
        """When the replica's process did."""
        found = re.search(
            r"^process_start_time_seconds (\S+)$", self.client.get("/metrics").text, re.M
        )
        assert found is not None
        return float(found[1])

    def stop(self) -> None:
        self.client.close()
        assert self._driver.stdin is not None
        self._driver.stdin.close()
        try:
            self._driver.wait(60)
        finally:
            self._driver.kill()


@pytest.fixture(scope="module")
def ray_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayService]:
    """One Ray for the tests below, which go on from one another, in order."""
    service = RayService(tmp_path_factory.mktemp("ray"))
    yield service
    service.stop()


@pytest.mark.ray
@pytest.mark.slow
def test_what_answers_no_search_is_never_called_running(ray_service: RayService) -> None:
    config = ray_service.config
    (collection,) = config.collections
    model = ModelSpec(provider=Provider.TORCH_SCRIPT, name="any", weights="/nowhere/missing.pt")
    broken = config.model_copy(
        update={"collections": (collection.model_copy(update={"model": model}),)}
    )
    ray_service.deploy(light_of(broken), broken)
    seen: list[str] = []

    def given_up() -> bool:
        seen.append(ray_service.status())
        return "DEPLOY_FAILED" in seen[-1]

    ray_service.until(given_up)
    assert not any("RUNNING" in each for each in seen)
    assert "missing.pt" in seen[-1]


@pytest.mark.ray
@pytest.mark.slow
def test_search_defaults_change_without_another_replica(ray_service: RayService) -> None:
    light = light_of(ray_service.config)
    ray_service.deploy(light)
    ray_service.until(lambda: ray_service.client.get("/readyz").status_code == 200)
    assert ray_service.retriever()["search"]["top_k"] == 10
    started = ray_service.started()
    (retriever,) = light.retrievers
    search = retriever.search.model_copy(update={"top_k": 2})
    changed = retriever.model_copy(update={"search": search})
    ray_service.deploy(
        light.model_copy(update={"retrievers": (changed,), "rate_limit_per_second": 1.0})
    )
    ray_service.until(lambda: ray_service.retriever().get("search", {}).get("top_k") == 2)
    assert ray_service.started() == started
    answers = [ray_service.client.get("/v1/retrievers").status_code for _ in range(10)]
    assert 429 in answers
    own = httpx.get(f"http://127.0.0.1:{ray_service.metrics_port}/metrics").text
    assert "\nlookalike_requests_in_flight 0.0\n" in own
    progress = httpx.get(f"http://127.0.0.1:{ray_service.progress_port}/").content
    assert WorkerProgress.model_validate_json(progress).fetching is None


@pytest.mark.ray
@pytest.mark.slow
def test_another_edge_index_answers_without_another_replica(ray_service: RayService) -> None:
    config, started = ray_service.config, ray_service.started()

    def documents() -> int | None:
        answer = ray_service.client.get("/v1/collections/catalogue")
        return int(answer.json()["documents"]) if answer.status_code == 200 else None

    def deploy(**parts: object) -> None:
        ray_service.deploy(light_of(config.model_copy(update=parts)))

    [former] = config.collections
    path = config.data_dir / "indexes" / "other"
    at = former.index.model_copy(update={"name": "other", "path": path})
    new = former.model_copy(update={"index": at})
    deploy(filling=(new,))
    ray_service.until(lambda: path.exists() and documents() == 0)
    image = {"image": ("x.jpg", picture("red"))}
    assert ray_service.client.post(DOCUMENTS, files=image).status_code == 201
    assert documents() == 1
    deploy(collections=(new,), filling=(former,))
    ray_service.until(lambda: documents() == 0)
    assert ray_service.client.get("/readyz").status_code == 200
    assert ray_service.started() == started
