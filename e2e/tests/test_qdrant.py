"""A collection on a Qdrant server, several replicas in front of it, and scaling by real metrics.

`LOOKALIKE_QDRANT_URL` names a server that the cluster's pods can reach. Without it the stand-in of
tests/qdrant_server runs as a pod: it speaks Qdrant's protocol and searches exactly, in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from e2e.cluster.api import Object
from e2e.tests.callers import calling
from e2e.tests.endpoint import Endpoint
from e2e.tests.prometheus import Prometheus
from e2e.tests.qdrant import given_server
from e2e.tests.stage import Stage, Stages
from e2e.tests.waiting import story, until, until_condition

pytestmark = pytest.mark.node

PICTURES = 120
COLLECTION = "products"
RETRIEVER = "product-search"
_LONGEST_LOAD_SECONDS = 240
_SERVING = "app.kubernetes.io/component=serving"
_ROLLOUT = "example.com/rollout"
_ROLLOUTS = int(os.environ.get("LOOKALIKE_E2E_ROLLOUTS", "2"))
"""Of the test that loses no request; ten of them see more than 10,000."""


@pytest.fixture(scope="module")
def stage(stages: Stages) -> Iterator[Stage]:
    with stages.open("qdrant") as stage:
        stage.catalogue(PICTURES)
        given = given_server()
        changes: dict[str, Object] = {}
        if given:
            qdrant = {"url": given, "serviceRef": None}
            changes["ImageCollection"] = {"spec": {"index": {"qdrant": qdrant}}}
        else:
            stage.start_qdrant("qdrant")
        changes["Retriever"] = {
            "spec": {
                "serving": {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
                "autoscaling": {
                    "minReplicas": 1,
                    "maxReplicas": 2,
                    "metrics": [{"preset": "Concurrency", "target": 2}],
                    "scaleDownStabilizationSeconds": 15,
                },
            }
        }
        stage.apply_example("autoscaling.yaml", **changes)
        yield stage


@pytest.fixture(scope="module")
def endpoint(stage: Stage) -> Endpoint:
    until_condition(stage.api, stage.collection(COLLECTION), "Ingested", "True", 300)
    until_condition(stage.api, stage.retriever(RETRIEVER), "Ready", "True", 300)
    endpoint = stage.endpoint(RETRIEVER)
    endpoint.until_it_answers(60)
    return endpoint


def test_a_query_is_answered_from_the_server(stage: Stage, endpoint: Endpoint) -> None:
    assert endpoint.documents(COLLECTION) == PICTURES
    entry = stage.entries[11]
    found = endpoint.search_by_picture(stage.picture(entry), top_k=3)
    assert found[0]["document_id"] == entry["document_id"]


def test_an_uploaded_image_outlives_its_pod(stage: Stage, endpoint: Endpoint) -> None:
    serving = {"storage": {"size": "1Gi", "accessMode": "ReadWriteOnce"}}
    manifest = {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "Retriever",
        "metadata": {"name": "uploads"},
        "spec": {"collections": [{"name": COLLECTION}], "serving": serving},
    }
    stage.apply(stage.with_environment(manifest))
    until_condition(stage.api, stage.retriever("uploads"), "Ready", "True", 300)
    uploads = stage.endpoint("uploads")
    uploads.until_it_answers(60)
    image = stage.picture(stage.entries[2]).read_bytes()
    documents = f"/v1/collections/{COLLECTION}/documents"
    with uploads.client() as client:
        answer = client.post(documents, files={"image": image}, data={"document_id": "mine"})
    assert answer.status_code == 201, answer.text
    assert "warnings" not in answer.json()
    pod = stage.serving_pod("uploads")["metadata"]["name"]
    stage.api.delete(stage.pod(pod))
    stage.until_gone(stage.pod(pod), 120)
    until_condition(stage.api, stage.retriever("uploads"), "Available", "True", 240)
    uploads.until_it_answers(60)
    with uploads.client() as client:
        assert client.get(f"{documents}/mine/image").content == image
        client.delete(f"{documents}/mine").raise_for_status()
    stage.api.delete(stage.retriever("uploads"))


def test_load_brings_a_second_replica_and_its_end_takes_it_away(
    stage: Stage, endpoint: Endpoint, prometheus: Prometheus
) -> None:
    def told() -> str:
        return story(stage.api, stage.retriever(RETRIEVER))

    prometheus.until_scraped(stage.namespace, RETRIEVER, told)
    with calling(endpoint, callers=12, at_most=_LONGEST_LOAD_SECONDS) as tally:
        until(
            "second replica that answers",
            lambda: _replicas(stage, RETRIEVER) == 2 or None,
            240,
            told,
        )
    with calling(endpoint, callers=2, pause=0.5) as at_rest:
        until("single replica again", lambda: _replicas(stage, RETRIEVER) == 1 or None, 240, told)
    assert (tally.lost, at_rest.lost) == ([], [])
    retriever = stage.api.get(stage.retriever(RETRIEVER))
    assert "Concurrency" in retriever["status"]["lastScaleReason"]


def test_no_request_is_lost_while_pods_come_and_go(stage: Stage) -> None:
    """Changed pods, evicted pods as when a node is drained, fewer pods."""
    name, path = "rollouts", stage.retriever("rollouts")

    def told() -> str:
        return story(stage.api, path)

    def settle(replicas: int, rollout: str) -> None:
        def settled() -> bool | None:
            pods = stage.pods(f"{_SERVING},lookalike.dev/name={name}")
            new = all(p["metadata"]["annotations"].get(_ROLLOUT) == rollout for p in pods)
            return (new and _replicas(stage, name) == replicas) or None

        until(f"{replicas} pods of rollout {rollout} alone", settled, 300, told)

    manifest = {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "Retriever",
        "metadata": {"name": name},
        "spec": {
            "collections": [{"name": COLLECTION}],
            "serving": {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}},
        },
    }
    stage.apply(stage.with_environment(manifest))
    until_condition(stage.api, path, "Ready", "True", 300)
    endpoint = stage.endpoint(name)
    endpoint.until_it_answers(60)
    with calling(endpoint, callers=8, pause=0.15, at_most=1800) as tally:
        for number in map(str, range(1, _ROLLOUTS + 1)):
            template = {"metadata": {"annotations": {_ROLLOUT: number}}}
            stage.api.patch(path, {"spec": {"serving": {"podTemplate": template}}})
            settle(1, number)
        stage.api.patch(path, {"spec": {"serving": {"replicas": 2}}})
        settle(2, number)
        stage.evict(stage.pods(f"{_SERVING},lookalike.dev/name={name}")[0]["metadata"]["name"])
        settle(2, number)
        stage.api.patch(path, {"spec": {"serving": {"replicas": 1}}})
        settle(1, number)
        time.sleep(2)
    stage.api.delete(path)
    print(f"{_ROLLOUTS} rollouts, an eviction and a scale-down: {tally.answered:,} answers")
    assert tally.lost == []
    assert tally.answered > 500


def _replicas(stage: Stage, retriever: str) -> int:
    """How many pods there are, if all of them are ready, new and none is on its way out."""
    path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments/{retriever}"
    deployment = stage.api.get(path)
    status, ready = deployment["status"], deployment["status"].get("readyReplicas", 0)
    selector = f"{_SERVING},lookalike.dev/name={retriever}"
    settled = (
        status["observedGeneration"] == deployment["metadata"]["generation"]
        and ready == status.get("replicas") == status.get("updatedReplicas")
        and ready == len(stage.pods(selector, ending=True))
    )
    return int(ready) if settled else -1
