"""How a collection's Qdrant server reaches its pods: addresses, API key, certificates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest
from tests.operator.plan.known import (
    PHOTOS,
    collection,
    condition,
    facts,
    named,
    retriever,
    told,
)
from tests.operator.plan.moments import index_facts, on_server

from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import IndexFacts, Manifest, Plan
from lookalike_operator.plan.retriever import plan_retriever

IN_MAP = {"configMapRef": {"name": "qdrant-ca", "key": "ca.crt"}}
IN_SECRET = {"secretRef": {"name": "qdrant", "key": "ca.crt"}}
KEY = {"name": "qdrant", "key": "api-key"}


def _on(**qdrant: Any) -> dict[str, Any]:
    return {"index": {"engine": "Qdrant", "qdrant": qdrant}}


def _index(plan: Plan, file: str) -> dict[str, Any]:
    config = json.loads(named(plan, "ConfigMap")["data"][file])
    found = config["collections"][0] if "collections" in config else config["collection"]
    index: dict[str, Any] = found["index"]
    return index


def _source_of(pod: Manifest, file: str) -> dict[str, Any]:
    """The volume that holds the file in the pod's only container."""
    (container,) = pod["spec"]["containers"]
    folder = str(PurePosixPath(file).parent)
    (mount,) = [m for m in container["volumeMounts"] if m["mountPath"] == folder]
    assert mount["readOnly"]
    (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == mount["name"]]
    return {key: value for key, value in volume.items() if key != "name"}


@pytest.mark.parametrize(
    ("ca", "source"),
    [
        (IN_MAP, {"configMap": {"name": "qdrant-ca"}}),
        (IN_SECRET, {"secret": {"secretName": "qdrant"}}),
    ],
)
def test_certificates_and_key_are_mounted_where_the_configs_say(
    ca: dict[str, Any], source: dict[str, Any]
) -> None:
    server = _on(serviceRef="qdrant", ca=ca, apiKeySecretRef=KEY)
    serving = plan_retriever(retriever(collections=(facts(server, PHOTOS),)))
    ingesting = plan_collection(on_server(server, PHOTOS))
    pods = {
        "serving.json": (serving, named(serving, "Deployment")["spec"]["template"]),
        "ingestion.json": (ingesting, named(ingesting, "Job")["spec"]["template"]),
    }
    for file, (plan, pod) in pods.items():
        index = _index(plan, file)
        assert index["url"] == "https://qdrant.shop.svc.cluster.local:6333"
        assert index["ca_file"].endswith("/ca.crt")
        assert _source_of(pod, index["ca_file"]) == source
        assert _source_of(pod, index["api_key_file"]) == {"secret": {"secretName": "qdrant"}}


def test_several_addresses_reach_the_pods_and_the_batch_records() -> None:
    urls = ["https://a.qdrant.example:6333", "https://b.qdrant.example:6333"]
    plan = plan_retriever(retriever(collections=(facts(_on(urls=urls), PHOTOS),)))
    config = json.loads(named(plan, "ConfigMap")["data"]["serving.json"])
    for index in (config["collections"][0]["index"], config["batches_index"]):
        assert (index.get("url"), index["urls"]) == (None, urls)


def test_a_single_address_is_written_as_ever() -> None:
    plan = plan_retriever(retriever(collections=(facts(_on(url="http://q:6333"), PHOTOS),)))
    assert _index(plan, "serving.json")["url"] == "http://q:6333"


def test_a_path_alone_says_nothing_on_a_cluster() -> None:
    plan = plan_collection(collection(_on(serviceRef="q", ca={"path": "ca.pem"}), PHOTOS))
    assert told(plan, "Stalled") == ("True", "InvalidSpec")
    assert "spec.index.qdrant.ca.configMapRef: is missing" in condition(plan, "Stalled")["message"]


def test_a_config_map_that_is_not_there_is_named() -> None:
    snapshot = on_server(_on(serviceRef="qdrant", ca=IN_MAP), PHOTOS)
    plan = plan_collection(replace(snapshot, missing_secrets=("ConfigMap qdrant-ca/ca.crt",)))
    assert told(plan, "Degraded") == ("True", "ConfigMapNotFound")
    message = condition(plan, "Degraded")["message"]
    assert message == "ConfigMap qdrant-ca/ca.crt is missing: create it"
    both = ("qdrant/api-key", "ConfigMap qdrant-ca/ca.crt")
    plan = plan_collection(replace(snapshot, missing_secrets=both))
    assert told(plan, "Degraded") == ("True", "SecretNotFound")
    assert condition(plan, "Degraded")["message"] == (
        "Secret qdrant/api-key, ConfigMap qdrant-ca/ca.crt are missing: create it"
    )


def test_a_refused_certificate_waits_for_a_person() -> None:
    error = "https://q: its certificate is expired: renew it"
    refused = IndexFacts("x", error=error, reason="CertificateRefused")
    plan = plan_collection(on_server(PHOTOS, index=refused))
    assert told(plan, "Stalled") == ("True", "CertificateRefused")
    assert condition(plan, "IndexReady")["message"] == error


def test_an_address_that_is_away_is_told_while_another_answers() -> None:
    snapshot = on_server(PHOTOS)
    assert snapshot.index is not None
    partly = index_facts(snapshot.index.name, away=("http://b:6333",))
    ready = condition(plan_collection(replace(snapshot, index=partly)), "IndexReady")
    assert ready["status"] == "True"
    assert "but not at http://b:6333" in ready["message"]
