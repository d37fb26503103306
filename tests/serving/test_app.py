"""The real application: Ray Serve behind HAProxy, one replica, an Edge index."""

from __future__ import annotations

import time

import httpx
import pytest
from served import DOCUMENTS, START_SECONDS, picture

from lookalike_crds.config import ServingConfig
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import RunDirectory

pytestmark = [pytest.mark.ray, pytest.mark.slow]


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
