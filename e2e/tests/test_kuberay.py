"""The same resources on a Ray cluster that KubeRay makes: a RayService answers a query."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.tests import stranger
from e2e.tests.callers import calling
from e2e.tests.endpoint import Endpoint
from e2e.tests.prometheus import Prometheus
from e2e.tests.stage import Stage, Stages
from e2e.tests.waiting import story, until, until_condition

pytestmark = pytest.mark.node

PICTURES = 60
COLLECTION = "photos"
RETRIEVER = "photo-search"
_WORKERS = "ray.io/node-type=worker"
_CLOSED = {
    *("401", "403", "404", "405", "501", "no HTTP", "metrics"),
    *("UNAUTHENTICATED", "UNAVAILABLE", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"),
    *("500", "UNKNOWN"),  # HAProxy's ports for its own figures, to whatever else is asked there
}
"""Answers to somebody who is not let in."""


@pytest.fixture(scope="module")
def stage(stages: Stages) -> Iterator[Stage]:
    if stages.target.api.find("/apis/ray.io/v1") is None:
        pytest.skip("the cluster has no KubeRay: install its operator, 1.5.1 or later")
    with stages.open("kuberay") as stage:
        stage.catalogue(PICTURES)
        stage.start_qdrant("qdrant")
        requests = {"cpu": "100m", "memory": "1Gi"}
        # Ray's autoscaler, which KubeRay puts beside the head, is of the same environment.
        autoscaler = {
            "idleTimeoutSeconds": 20,  # a worker without work goes after a minute otherwise
            "env": stage.environment.environment(),
            "volumeMounts": stage.environment.volume_mounts(),
        }
        serving = {
            "resources": {"requests": requests},
            "rayCluster": {"autoscalerOptions": autoscaler},
        }
        stage.apply_example("kuberay.yaml", Retriever={"spec": {"serving": serving}})
        yield stage


@pytest.fixture(scope="module")
def endpoint(stage: Stage) -> Endpoint:
    until_condition(stage.api, stage.collection(COLLECTION), "Ingested", "True", 300)
    until_condition(stage.api, stage.retriever(RETRIEVER), "Ready", "True", 420)
    endpoint = stage.endpoint(RETRIEVER)
    endpoint.until_it_answers(90)
    return endpoint


def test_a_ray_service_answers(stage: Stage, endpoint: Endpoint) -> None:
    assert endpoint.documents(COLLECTION) == PICTURES
    entry = stage.entries[5]
    found = endpoint.search_by_picture(stage.picture(entry), top_k=3)
    assert found[0]["document_id"] == entry["document_id"]


def test_a_changed_default_takes_effect_in_the_same_ray_cluster(
    stage: Stage, endpoint: Endpoint
) -> None:
    path = f"/apis/ray.io/v1/namespaces/{stage.namespace}/rayservices/{RETRIEVER}"
    before = stage.api.get(path)["status"]["activeServiceStatus"]["rayClusterName"]
    stage.change_default(endpoint, top_k=4)
    after = stage.api.get(path)["status"]["activeServiceStatus"]["rayClusterName"]
    assert after == before


def test_a_pod_without_the_token_gets_nowhere(stage: Stage, endpoint: Endpoint) -> None:
    """At any port of the head and of a worker, by HTTP or by any of Ray's protocols."""
    pods = {p["status"]["podIP"]: p for p in stage.pods("ray.io/is-ray-node=yes")}
    found = json.loads(stage.run(Path(stranger.__file__), *pods, seconds=300))
    let_in = []
    for address, ports in found.items():
        for port, answers in ports.items():
            told = f"{pods[address]['metadata']['labels']['ray.io/node-type']}:{port}"
            let_in += [f"{told} {what}: {a}" for what, a in answers.items() if a not in _CLOSED]
    assert not let_in, "\n".join(let_in)
    # It did find Ray's doors, and they are locked rather than gone.
    [head] = [
        found[address]
        for address, pod in pods.items()
        if pod["metadata"]["labels"]["ray.io/node-type"] == "head"
    ]
    assert head["8265"]["GET /api/jobs/"] in {"401", "403"}
    assert head["6379"]["ray.rpc.InternalKVGcsService/InternalKVKeys"] == "UNAUTHENTICATED"
    assert head["10001"]["ray.rpc.RayletDriver/KVList"] == "UNAUTHENTICATED"
    assert any(
        answers.get("ray.serve.ASGIService/HandleRequest") == "UNAUTHENTICATED"
        for ports in found.values()
        for answers in ports.values()
    )


def test_no_request_is_lost_when_another_ray_cluster_takes_over(
    stage: Stage, endpoint: Endpoint
) -> None:
    path = f"/apis/ray.io/v1/namespaces/{stage.namespace}/rayservices/{RETRIEVER}"
    retriever = stage.retriever(RETRIEVER)

    def cluster() -> str:
        return str(stage.api.get(path)["status"]["activeServiceStatus"]["rayClusterName"])

    def alone() -> bool | None:
        pods = stage.pods("ray.io/is-ray-node=yes", ending=True)
        names = {pod["metadata"]["labels"]["ray.io/cluster"] for pod in pods}
        return (names == {cluster()} and cluster() != before) or None

    before = cluster()
    variable = {"name": "EXAMPLE", "value": "changed"}
    [document] = [d for d in stage.example("kuberay.yaml") if d["kind"] == "Retriever"]
    template = document["spec"]["serving"]["podTemplate"]
    template["spec"]["containers"][0]["env"].append(variable)
    with calling(endpoint, callers=6, pause=0.3, at_most=600) as tally:
        stage.api.patch(retriever, {"spec": {"serving": {"podTemplate": template}}})
        until("another Ray cluster alone", alone, 480, lambda: story(stage.api, retriever))
        time.sleep(2)
    print(f"{tally.answered:,} answers while another Ray cluster took over")
    assert tally.lost == []
    assert tally.answered > 100


def test_without_requests_the_workers_go_and_the_next_request_brings_one_back(
    stage: Stage, endpoint: Endpoint, prometheus: Prometheus
) -> None:
    def told() -> str:
        return story(stage.api, stage.retriever(RETRIEVER))

    scaling = {
        "minReplicas": 1,
        "maxReplicas": 1,
        "metrics": [{"preset": "Concurrency", "target": 8}],
        "idleTimeoutSeconds": 60,
    }
    stage.api.patch(stage.retriever(RETRIEVER), {"spec": {"autoscaling": scaling}})
    prometheus.until_scraped(stage.namespace, RETRIEVER, told)
    until("end of the last worker", lambda: not stage.pods(_WORKERS) or None, 420, told)
    until_condition(stage.api, stage.retriever(RETRIEVER), "Ready", "True", 60, reason="Idle")
    # The head's proxy holds the request until a worker is there and its model loaded.
    with endpoint.client(timeout=300) as client:
        query = {"type": "text", "value": "a mug"}
        answer = client.post(f"/v1/retrievers/{RETRIEVER}/search", json={"queries": [query]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"]
    until_condition(stage.api, stage.retriever(RETRIEVER), "Ready", "True", 240, reason="Ready")
