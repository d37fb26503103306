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
EDGE_COLLECTION, EDGE_RETRIEVER = "shelves", "shelf-search"
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
    storage = {"storage": {"size": "1Gi", "accessMode": "ReadWriteMany"}}
    return [
        _collection(COLLECTION, {"engine": "Qdrant", "qdrant": qdrant}),
        _retriever(RETRIEVER, COLLECTION, storage),
        _collection(EDGE_COLLECTION, {"engine": "Edge"}),
        _retriever(EDGE_RETRIEVER, EDGE_COLLECTION, {}),
    ]


def _collection(name: str, index: Object) -> Object:
    products = {"claimName": "product-images", "path": "catalogue"}
    metadata = {"file": "catalogue.jsonl", "documentId": "document_id"}
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "ImageCollection",
        "metadata": {"name": name},
        "spec": {
            "model": {"provider": "Demo"},
            "index": index,
            "sources": [{"name": "products", "volume": products, "metadata": metadata}],
        },
    }


def _retriever(name: str, collection: str, serving: Object) -> Object:
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "Retriever",
        "metadata": {"name": name},
        "spec": {"collections": [{"name": collection}], "serving": serving},
    }


def _with_plugins(resource: Object) -> Object:
    part = "serving" if resource["kind"] == "Retriever" else "ingestion"
    pod = resource["spec"][part]["podTemplate"]["spec"]
    pod["volumes"].append({"name": "plugins", "configMap": {"name": "models"}})
    pod["containers"][0]["volumeMounts"].append({"name": "plugins", "mountPath": _PLUGINS})
    return resource


@pytest.fixture(scope="module")
def endpoint(stage: Stage) -> Endpoint:
    return _answering(stage, COLLECTION, RETRIEVER)


@pytest.fixture(scope="module")
def edge_endpoint(stage: Stage) -> Endpoint:
    return _answering(stage, EDGE_COLLECTION, EDGE_RETRIEVER)


def _answering(stage: Stage, collection: str, retriever: str) -> Endpoint:
    until_condition(stage.api, stage.collection(collection), "Ingested", "True", 300)
    until_condition(stage.api, stage.retriever(retriever), "Ready", "True", 300)
    endpoint = stage.endpoint(retriever)
    endpoint.until_it_answers(60)
    return endpoint


def _model(name: str, **more: object) -> Object:
    named = {"provider": "Plugin", "name": f"{_PLUGINS}/models.py:{name}"}
    return {"spec": {"model": {**named, **more}}}


def _answers_by(endpoint: Endpoint, collection: str, model: str) -> bool:
    with endpoint.client() as client:
        return model in client.get(f"/v1/collections/{collection}").json()["model"]


def test_a_model_changes_under_searches_and_only_if_it_is_good(
    stage: Stage, endpoint: Endpoint, edge_endpoint: Endpoint
) -> None:
    """Meanwhile a collection with an Edge index changes its model, too: the one pod that has the
    index open stays, and answers throughout."""
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

    edge_path = stage.collection(EDGE_COLLECTION)
    edge_pod = stage.serving_pod(EDGE_RETRIEVER)
    with (
        calling(endpoint, callers=4, pause=0.05, at_most=900) as tally,
        calling(edge_endpoint, callers=2, pause=0.2, at_most=900) as edge_tally,
    ):
        stage.api.patch(edge_path, _model("Colours"))
        stage.api.patch(path, _model("Noise", gate=GATE))
        until_condition(stage.api, path, "ModelReady", "False", 300, reason="GateNotPassed")
        assert stage.api.get(path)["status"]["activeModel"] == former
        stage.api.patch(path, _model("Colours", gate=GATE))

        def changed() -> bool:
            status = stage.api.get(path)["status"]
            return status["activeModel"] != former and "Colours" in status["activeModel"]

        until("collection with the new model", changed, 300, told)

        until(
            "answer of the new model",
            lambda: _answers_by(endpoint, COLLECTION, "Colours"),
            300,
            told,
        )
        until(
            "answer of the new model from its Edge index",
            lambda: _answers_by(edge_endpoint, EDGE_COLLECTION, "Colours"),
            300,
            lambda: story(stage.api, edge_path),
        )
        until_condition(stage.api, stage.retriever(RETRIEVER), "Ready", "True", 300)
        until(f"{SEARCHES} answers", lambda: tally.answered >= SEARCHES or None, 600, told)
    print(f"two changes of the model: {tally.answered:,} answers")
    assert tally.lost == []
    print(f"a change of an Edge index: {edge_tally.answered:,} answers")
    assert edge_tally.lost == []
    assert edge_endpoint.documents(EDGE_COLLECTION) == PICTURES
    pod = stage.serving_pod(EDGE_RETRIEVER)
    assert pod["metadata"]["uid"] == edge_pod["metadata"]["uid"]
    assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]
    assert endpoint.documents(COLLECTION) == PICTURES + 1
    with endpoint.client() as client:
        assert client.get(f"{documents}/mine/image").content == image
    entry = stage.entries[7]
    found = endpoint.search_by_picture(stage.picture(entry), top_k=1)
    assert found[0]["document_id"] == entry["document_id"]
    assert found[0]["score"] > 0.999
