"""An ingestion Job whose pod is killed half-way goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.cluster.api import Object
from e2e.tests.stage import Stage, Stages
from e2e.tests.waiting import story, until, until_condition

pytestmark = pytest.mark.node

PICTURES = 600
COLLECTION = "catalogue"
RETRIEVER = "similarity-retriever"
_INGESTING = f"app.kubernetes.io/component=ingestion,lookalike.dev/name={COLLECTION}"


@pytest.fixture(scope="module")
def stage(stages: Stages) -> Iterator[Stage]:
    with stages.open("killed") as stage:
        stage.catalogue(PICTURES)
        stage.apply_example("standalone-edge.yaml")
        yield stage


def test_a_killed_ingestion_pod_is_followed_by_one_that_finishes(stage: Stage) -> None:
    path = stage.collection(COLLECTION)

    def told() -> str:
        return story(stage.api, path)

    def running() -> Object | None:
        pods = [p for p in stage.pods(_INGESTING) if p["status"].get("phase") == "Running"]
        return pods[0] if pods else None

    first = until("ingestion pod that runs", running, 300, told)
    endpoint = stage.endpoint(RETRIEVER)
    endpoint.until_it_answers(60)
    until("first documents", lambda: endpoint.documents(COLLECTION) > 0 or None, 240, told)
    name = first["metadata"]["name"]
    # At once, without a word to the process: as when its node is lost.
    stage.api.delete(f"{stage.pod(name)}?gracePeriodSeconds=0")
    half_way = endpoint.documents(COLLECTION)
    until_condition(stage.api, path, "Ingested", "True", 400)
    assert half_way < PICTURES, "the pod was killed too late to prove anything"
    assert endpoint.documents(COLLECTION) == PICTURES
    collection = stage.api.get(path)
    assert collection["status"]["documents"] == PICTURES
    assert collection["status"]["failed"] == 0
