"""Ingestion with runtime Ray: a RayJob of KubeRay fills an index, and its Ray cluster goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.tests.stage import Stage, Stages
from e2e.tests.waiting import story, until, until_condition

pytestmark = pytest.mark.node

PICTURES = 80
COLLECTION = "photos"


@pytest.fixture(scope="module")
def stage(stages: Stages) -> Iterator[Stage]:
    if stages.target.api.find("/apis/ray.io/v1") is None:
        pytest.skip("the cluster has no KubeRay: install its operator, 1.5.1 or later")
    with stages.open("ingestion-ray") as stage:
        stage.catalogue(PICTURES)
        stage.start_qdrant("qdrant")
        ingestion = {
            "runtime": "Ray",
            "resources": {"requests": {"cpu": "200m", "memory": "1Gi"}},
        }
        # Else the namespace is not gone before the index is, whose server goes with it.
        spec = {"ingestion": ingestion, "deletionPolicy": "Retain"}
        changes = {"ImageCollection": {"spec": spec}}
        for document in stage.example("kuberay.yaml", **changes):
            if document["kind"] == "ImageCollection":
                stage.apply(document)
        yield stage


def test_a_ray_job_ingests_and_its_ray_cluster_goes(stage: Stage) -> None:
    path = stage.collection(COLLECTION)
    collection = until_condition(stage.api, path, "Ingested", "True", 420)
    status = collection["status"]
    [source] = status["sources"]
    assert (status["run"]["state"], status["documents"]) == ("Completed", PICTURES)
    assert (source["listed"], source["ingested"], source["failed"]) == (PICTURES, PICTURES, 0)
    job = stage.api.get(
        f"/apis/ray.io/v1/namespaces/{stage.namespace}/rayjobs/{status['run']['job']}"
    )
    assert job["status"]["jobStatus"] == "SUCCEEDED"
    until(
        "end of the Ray cluster",
        lambda: not stage.pods("ray.io/is-ray-node=yes"),
        120,
        lambda: story(stage.api, path),
    )
