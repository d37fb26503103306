"""A model that changes under searches: none is lost, uploads stay, a bad model is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from e2e.cluster.api import Object
from e2e.tests.callers import calling
from e2e.tests.endpoint import Endpoint
from e2e.tests.qdrant import given_server
from e2e.tests.stage import Stage, Stages
from e2e.tests.waiting import story, until, until_condition

pytestmark = pytest.mark.node

PICTURES = 40
COLLECTION, RETRIEVER = "furniture", "furniture-search"
SEARCHES = int(os.environ.get("LOOKALIKE_E2E_SEARCHES", "500"))
"""While the model changes, at least."""
GATE = {"minRecall": 0.6, "queries": 20}
_PLUGINS = "/plugins"
_MODELS = '''
import hashlib

import numpy as np


class Colours:
    """Eight by eight pixels: enough to tell drawn things apart."""

    size = 8
    version = "1"

    def __init__(self, weights):
        pass

    def embed_images(self, images):
        return images.reshape(len(images), -1) / 255 + 0.01

    def embed_texts(self, texts):
        return np.ones((len(texts), 192))


class Noise(Colours):
    """Finds nothing."""

    def embed_images(self, images):
        return np.stack([self.noise(each.tobytes()) for each in images])

    def noise(self, data):
        seed = int.from_bytes(hashlib.sha256(data).digest()[:8])
        return np.random.default_rng(seed).normal(size=192)
'''


@pytest.fixture(scope="module")
def stage(stages: Stages) -> Iterator[Stage]:
    with stages.open("model-change") as stage:
        stage.catalogue(PICTURES)
        qdrant: Object = {"serviceRef": "qdrant"}
        if given := given_server():
            qdrant = {"url": given}
        else:
            stage.start_qdrant("qdrant")
        code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "models"}}
        stage.apply({**code, "data": {"models.py": _MODELS}})
        for resource in _resources(qdrant):
            stage.apply(_with_plugins(stage.with_environment(resource)))
        yield stage


def _resources(qdrant: Object) -> list[Object]:
    products = {"claimName": "product-images", "path": "catalogue"}
    metadata = {"file": "catalogue.jsonl", "documentId": "document_id"}
    return [
        {
            "apiVersion": "lookalike.dev/v1alpha1",
            "kind": "ImageCollection",
            "metadata": {"name": COLLECTION},
            "spec": {
                "model": {"provider": "Demo"},
                "index": {"engine": "Qdrant", "qdrant": qdrant},
                "sources": [{"name": "products", "volume": products, "metadata": metadata}],
            },
        },
        {
            "apiVersion": "lookalike.dev/v1alpha1",
            "kind": "Retriever",
            "metadata": {"name": RETRIEVER},
            "spec": {
                "collections": [{"name": COLLECTION}],
                "serving": {"storage": {"size": "1Gi", "accessMode": "ReadWriteMany"}},
            },
        },
    ]


def _with_plugins(resource: Object) -> Object:
    part = "serving" if resource["kind"] == "Retriever" else "ingestion"
    pod = resource["spec"][part]["podTemplate"]["spec"]
    pod["volumes"].append({"name": "plugins", "configMap": {"name": "models"}})
    pod["containers"][0]["volumeMounts"].append({"name": "plugins", "mountPath": _PLUGINS})
    return resource


@pytest.fixture(scope="module")
def endpoint(stage: Stage) -> Endpoint:
    until_condition(stage.api, stage.collection(COLLECTION), "Ingested", "True", 300)
    until_condition(stage.api, stage.retriever(RETRIEVER), "Ready", "True", 300)
    endpoint = stage.endpoint(RETRIEVER)
    endpoint.until_it_answers(60)
    return endpoint


def _model(name: str) -> Object:
    named = {"provider": "Plugin", "name": f"{_PLUGINS}/models.py:{name}"}
    return {"spec": {"model": {**named, "gate": GATE}}}


def test_a_model_changes_under_searches_and_only_if_it_is_good(
    stage: Stage, endpoint: Endpoint
) -> None:
    path = stage.collection(COLLECTION)
    image = stage.picture(stage.entries[2]).read_bytes()
    documents = f"/v1/collections/{COLLECTION}/documents"
    with endpoint.client() as client:
        client.post(
            documents, files={"image": image}, data={"document_id": "mine"}
        ).raise_for_status()
    former = stage.api.get(path)["status"]["activeModel"]

    def told() -> str:
        return story(stage.api, path)

    with calling(endpoint, callers=4, pause=0.05, at_most=900) as tally:
        stage.api.patch(path, _model("Noise"))
        until_condition(stage.api, path, "ModelReady", "False", 300, reason="GateNotPassed")
        assert stage.api.get(path)["status"]["activeModel"] == former
        stage.api.patch(path, _model("Colours"))

        def changed() -> bool:
            status = stage.api.get(path)["status"]
            return status["activeModel"] != former and "Colours" in status["activeModel"]

        until("collection with the new model", changed, 300, told)

        def answers() -> bool:
            with endpoint.client() as client:
                return "Colours" in client.get(f"/v1/collections/{COLLECTION}").json()["model"]

        until("answer of the new model", answers, 300, told)
        until_condition(stage.api, stage.retriever(RETRIEVER), "Ready", "True", 300)
        until(f"{SEARCHES} answers", lambda: tally.answered >= SEARCHES or None, 600, told)
    print(f"two changes of the model: {tally.answered:,} answers")
    assert tally.lost == []
    assert endpoint.documents(COLLECTION) == PICTURES + 1
    with endpoint.client() as client:
        assert client.get(f"{documents}/mine/image").content == image
    entry = stage.entries[7]
    found = endpoint.search_by_picture(stage.picture(entry), top_k=1)
    assert found[0]["document_id"] == entry["document_id"]
    assert found[0]["score"] > 0.999
