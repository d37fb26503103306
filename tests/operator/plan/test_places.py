"""Where the images of sources are, for the pods of both kinds."""

from __future__ import annotations

import json

from tests.operator.plan.known import QDRANT, VIT, collection, facts, named, retriever

from lookalike_crds.config import IngestionConfig, ServingConfig
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.retriever import plan_retriever

BUCKET = {
    "sources": [
        {"name": "cloud", "s3": {"bucket": "photos", "credentialsSecretRef": "photo-keys"}},
        {"name": "own", "gcs": {"bucket": "photos", "prefix": "2024/"}},
    ]
}
FOLDER = "/etc/lookalike-sources/photo-keys"


def mounted(pod: Manifest) -> Manifest:
    """The volume that a pod's first container sees at FOLDER."""
    (mount,) = [
        each for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == FOLDER
    ]
    assert mount["readOnly"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == mount["name"]]
    return {key: value for key, value in volume.items() if key != "name"}


def test_ingestion_and_serving_read_a_bucket_with_the_same_secret() -> None:
    ingesting = plan_collection(collection(QDRANT, VIT, BUCKET))
    pod = named(ingesting, "Job")["spec"]["template"]["spec"]
    secret = {"secret": {"secretName": "photo-keys", "optional": True}}
    assert mounted(pod) == secret
    assert "envFrom" not in pod["containers"][0]
    (written,) = named(ingesting, "ConfigMap")["data"].values()
    config = IngestionConfig.model_validate_json(written)
    serving = plan_retriever(retriever(collections=(facts(QDRANT, VIT, BUCKET),)))
    assert mounted(named(serving, "Deployment")["spec"]["template"]["spec"]) == secret
    (written,) = named(serving, "ConfigMap")["data"].values()
    buckets = ServingConfig.model_validate(json.loads(written)).buckets
    assert buckets == config.buckets
    assert [(str(each), each.credentials and str(each.credentials)) for each in buckets] == [
        ("s3://photos/", FOLDER),
        ("gs://photos/2024/", None),
    ]
