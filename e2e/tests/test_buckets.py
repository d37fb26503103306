"""A bucket with keys in a Secret: read by a Job, by its schedule, and by events."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from e2e.cluster.api import Object
from e2e.tests.endpoint import Endpoint
from e2e.tests.object_store import KEY, NAME, SECRET, ObjectStore, start_object_store
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
    _apply(
        stage,
        _collection(COLLECTION, store, "in/", {"schedule": "* * * * *", "deleteMissing": True}),
        _retriever(RETRIEVER, COLLECTION),
    )
    until_condition(stage.api, stage.collection(COLLECTION), "Ingested", "True", 300)
    endpoint = stage.endpoint(RETRIEVER)
    endpoint.until_it_answers(60)
    assert endpoint.documents(COLLECTION) == 4
    return endpoint


def _collection(
    name: str, store: ObjectStore, prefix: str, reading: Object, **ingestion: object
) -> Object:
    """`reading`: what its source says besides where it is."""
    s3 = {
        "bucket": BUCKET,
        "prefix": prefix,
        "endpoint": store.endpoint,
        "credentialsSecretRef": "photo-keys",
    }
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "ImageCollection",
        "metadata": {"name": name},
        "spec": {
            "model": {"provider": "Demo"},
            "index": {"engine": "Edge", "storage": {"size": "1Gi"}},
            "ingestion": ingestion,
            "sources": [{"name": "bucket", "s3": s3, **reading}],
        },
    }


def _retriever(name: str, *collections: str) -> Object:
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "Retriever",
        "metadata": {"name": name},
        "spec": {
            "collections": [{"name": each} for each in collections],
            "serving": {"resources": {"requests": {"cpu": "200m", "memory": "1280Mi"}}},
        },
    }


def _apply(stage: Stage, *documents: Object) -> None:
    for document in documents:
        stage.apply(stage.with_environment(document))


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


def test_two_and_four_pods_bring_in_each_image_once(
    stage: Stage, store: ObjectStore, endpoint: Endpoint, pictures: list[bytes]
) -> None:
    """As one pod does above; the objects are read once by the pods of each run together."""
    keys = [f"many/{number}.jpg" for number in range(3 * len(pictures))]
    for number, key in enumerate(keys):
        store.put(BUCKET, key, pictures[number % len(pictures)])
    small = {"requests": {"cpu": "50m", "memory": "256Mi"}}
    collections = {f"by-{pods}": pods for pods in (2, 4)}
    documents = [
        _collection(name, store, "many/", {}, parallelism=pods, resources=small)
        for name, pods in collections.items()
    ]
    _apply(stage, *documents, _retriever("many-search", *collections))
    for name, pods in collections.items():
        until_condition(stage.api, stage.collection(name), "Ingested", "True", 400)
        with stage.endpoint("many-search").client() as client:
            [run] = client.get(f"/v1/collections/{name}/runs").json()["items"]
            stored = client.get(f"/v1/collections/{name}").json()["documents"]
        assert run["parts"] == pods, run
        balance = run["balance"]
        counts = (balance["listed"], balance["new"], balance["left"])
        assert counts == (len(keys), len(keys), 0), run
        assert stored == len(keys)
    log = stage.api.text(f"{stage.pod(NAME)}/log")
    for key in keys:
        read = re.findall(rf'"GET /{BUCKET}/{re.escape(key)}[? ]', log)
        assert len(read) == len(collections), f"{key} was read {len(read)} times"
