"""A bucket with keys in a Secret: read by a Job, by its schedule, and by events."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from e2e.tests.endpoint import Endpoint
from e2e.tests.object_store import KEY, SECRET, ObjectStore, start_object_store
from e2e.tests.stage import Stage, Stages
from e2e.tests.target import Target
from e2e.tests.waiting import story, until, until_condition
from lookalike_serving.demo.catalogue import render_catalogue

pytestmark = pytest.mark.node

BUCKET, COLLECTION, RETRIEVER = "photos", "photos", "photo-search"
_SECONDS = 10.0
"""Within which a told object is found at rest."""


@pytest.fixture(scope="module")
def stage(stages: Stages, target: Target) -> Iterator[Stage]:
    if target.environment.app is None:
        pytest.skip("a serving image has no S3 server in it: run it on this machine's node")
    with stages.open("buckets") as stage:
        yield stage


@pytest.fixture(scope="module")
def pictures(stage: Stage) -> list[bytes]:
    render_catalogue(stage.pictures, 8, seed=3)
    return [path.read_bytes() for path in sorted((stage.pictures / "images").iterdir())]


@pytest.fixture(scope="module")
def store(stage: Stage, pictures: list[bytes]) -> ObjectStore:
    made = start_object_store(stage)
    made.bucket(BUCKET)
    for number, data in enumerate(pictures[:4]):
        made.put(BUCKET, f"in/{number}.jpg", data)
    return made


@pytest.fixture(scope="module")
def endpoint(stage: Stage, store: ObjectStore) -> Endpoint:
    """Once the bucket is read."""
    stage.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "photo-keys"},
            "stringData": {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
        }
    )
    collection = {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "ImageCollection",
        "metadata": {"name": COLLECTION},
        "spec": {
            "model": {"provider": "Demo"},
            "index": {"engine": "Edge", "storage": {"size": "1Gi"}},
            "sources": [
                {
                    "name": "bucket",
                    "s3": {
                        "bucket": BUCKET,
                        "prefix": "in/",
                        "endpoint": store.endpoint,
                        "credentialsSecretRef": "photo-keys",
                    },
                    "schedule": "* * * * *",
                    "deleteMissing": True,
                }
            ],
        },
    }
    retriever = {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "Retriever",
        "metadata": {"name": RETRIEVER},
        "spec": {
            "collections": [{"name": COLLECTION}],
            "serving": {"resources": {"requests": {"cpu": "500m", "memory": "1280Mi"}}},
        },
    }
    for document in (collection, retriever):
        stage.apply(stage.with_environment(document))
    until_condition(stage.api, stage.collection(COLLECTION), "Ingested", "True", 300)
    endpoint = stage.endpoint(RETRIEVER)
    endpoint.until_it_answers(60)
    assert endpoint.documents(COLLECTION) == 4
    return endpoint


def _until_documents(stage: Stage, endpoint: Endpoint, count: int, seconds: float) -> None:
    until(
        f"{count} documents",
        lambda: endpoint.documents(COLLECTION) == count or None,
        seconds,
        lambda: story(stage.api, stage.collection(COLLECTION)),
    )


def _tell(endpoint: Endpoint, key: str) -> httpx.Response:
    """As S3 tells it, with the token in the address."""
    event = {"Records": [{"s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}}]}
    with endpoint.client() as client:
        path = client.get(f"/v1/collections/{COLLECTION}/events").json()["path"]
    with endpoint.route.client(endpoint.address, timeout=30) as stranger:
        return stranger.post(path, json=event)


def test_an_object_is_found_once_it_is_told_and_gone_once_it_is_removed(
    stage: Stage, store: ObjectStore, endpoint: Endpoint, pictures: list[bytes]
) -> None:
    store.put(BUCKET, "in/told.jpg", pictures[5])
    answer = _tell(endpoint, "in/told.jpg")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1), answer.text
    _until_documents(stage, endpoint, 5, _SECONDS)
    store.delete(BUCKET, "in/told.jpg")
    _tell(endpoint, "in/told.jpg").raise_for_status()
    _until_documents(stage, endpoint, 4, _SECONDS)


def test_what_nobody_told_is_found_by_the_schedule(
    stage: Stage, store: ObjectStore, endpoint: Endpoint, pictures: list[bytes]
) -> None:
    store.put(BUCKET, "in/untold.jpg", pictures[6])
    _until_documents(stage, endpoint, 5, 180)
