"""Where the images of sources are, for the pods of both kinds."""

from __future__ import annotations

import json

from tests.operator.plan.known import QDRANT, VIT, collection, facts, named, retriever

from lookalike_crds.config import IngestionConfig, ServingConfig, heavy_digest
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


def test_serving_takes_events_of_buckets_and_no_source_change_restarts_it() -> None:
    other = {"sources": [{**BUCKET["sources"][0], "deleteMissing": True}, BUCKET["sources"][1]]}
    written = []
    for sources in (BUCKET, other):
        plan = plan_retriever(retriever(collections=(facts(QDRANT, VIT, sources),)))
        (text,) = named(plan, "ConfigMap")["data"].values()
        written.append(ServingConfig.model_validate(json.loads(text)))
    before, after = written
    (followed,) = before.sources
    assert (followed.collection, str(followed.secrets_dir)) == (
        "catalogue",
        FOLDER.rpartition("/")[0],
    )
    assert [each.name for each in followed.sources] == ["cloud", "own"]
    assert before.sources != after.sources
    assert heavy_digest(before) == heavy_digest(after)
