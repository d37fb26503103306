"""A collection on a Qdrant server, several replicas in front of it, and scaling by real metrics.

`LOOKALIKE_QDRANT_URL` names a server that the cluster's pods can reach. Without it the stand-in of
tests/qdrant_server runs as a pod: it speaks Qdrant's protocol and searches exactly, in memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from e2e.cluster.api import Object
from e2e.tests.endpoint import Endpoint
from e2e.tests.prometheus import Prometheus
from e2e.tests.stage import Stage, Stages
from e2e.tests.waiting import story, until, until_condition

pytestmark = pytest.mark.node

PICTURES = 120
COLLECTION = "products"
RETRIEVER = "product-search"
_URL = "LOOKALIKE_QDRANT_URL"
_LONGEST_LOAD_SECONDS = 240


@pytest.fixture(scope="module")
def stage(stages: Stages) -> Iterator[Stage]:
    with stages.open("qdrant") as stage:
        stage.catalogue(PICTURES)
        given = os.environ.get(_URL)
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
    with load(endpoint, clients=12):
        until("second replica that answers", lambda: _replicas(stage) == 2 or None, 240, told)
    until("single replica again", lambda: _replicas(stage) == 1 or None, 240, told)
    retriever = stage.api.get(stage.retriever(RETRIEVER))
    assert "Concurrency" in retriever["status"]["lastScaleReason"]


def _replicas(stage: Stage) -> int:
    path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments/{RETRIEVER}"
    status = stage.api.get(path)["status"]
    ready = int(status.get("readyReplicas", 0))
    return ready if ready == status.get("replicas") else -1


@contextmanager
def load(endpoint: Endpoint, clients: int) -> Iterator[None]:
    """So many clients that ask one query after the other, until the block ends."""
    ended = threading.Event()
    end = threading.Timer(_LONGEST_LOAD_SECONDS, ended.set)
    end.start()

    def ask(number: int) -> None:
        with endpoint.client() as client:
            count = 0
            while not ended.is_set():
                count += 1
                query = {"type": "text", "value": f"a red mug {number} {count}"}
                try:
                    client.post(f"/v1/retrievers/{RETRIEVER}/search", json={"queries": [query]})
                except httpx.TransportError:
                    continue  # a pod that goes takes its connections with it

    threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.cancel()
        ended.set()
        for thread in threads:
            thread.join(60)
