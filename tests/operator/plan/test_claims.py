"""The claims of an index and of what is uploaded: made, grown, kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.operator.plan.deployed import SERVER
from tests.operator.plan.known import (
    CLAIM,
    EDGE,
    PHOTOS,
    collection,
    condition,
    facts,
    kinds,
    named,
    retriever,
    told,
)

from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import (
    Plan,
    ref_of,
)
from lookalike_operator.plan.retriever import plan_retriever


def _data_volume(plan: Plan) -> dict[str, Any]:
    volumes = named(plan, "Deployment")["spec"]["template"]["spec"]["volumes"]
    [found] = [volume for volume in volumes if volume["name"] == "data"]
    return dict(found)


def _config(plan: Plan) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(named(plan, "ConfigMap")["data"]["serving.json"])
    return config


def test_without_a_volume_uploads_go_with_their_pod_and_the_server_knows() -> None:
    plan = plan_retriever(retriever(collections=SERVER))
    assert "PersistentVolumeClaim" not in kinds(plan)
    assert "emptyDir" in _data_volume(plan)
    assert _config(plan)["keeps_uploads"] is False


def test_replicas_share_a_volume_and_each_has_a_run_folder_of_its_own() -> None:
    spec = {"serving": {"replicas": 3, "storage": {"size": "20Gi", "storageClassName": "nfs"}}}
    plan = plan_retriever(retriever(spec, collections=SERVER))
    claim = named(plan, "PersistentVolumeClaim")
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "20Gi"}},
        "storageClassName": "nfs",
    }
    name = claim["metadata"]["name"]
    assert _data_volume(plan)["persistentVolumeClaim"] == {"claimName": name}
    assert "keeps_uploads" not in _config(plan), "its default, which keeps them"
    assert _config(plan)["run_dir"] == "/tmp/lookalike-run"
    assert named(plan, "Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"


def test_a_volume_of_one_node_is_free_before_the_next_pod_starts() -> None:
    spec = {"serving": {"storage": {"accessMode": "ReadWriteOnce"}}}
    plan = plan_retriever(retriever(spec, collections=SERVER))
    assert named(plan, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert named(plan, "Deployment")["spec"]["strategy"]["type"] == "Recreate"
    assert "run_dir" not in _config(plan), "the lock in the volume is one more guard"


def test_an_edge_index_has_its_volume_as_large_as_the_spec_says() -> None:
    spec = {"serving": {"storage": {"size": "70Gi"}}}
    plan = plan_retriever(retriever(spec, collections=(facts(EDGE, PHOTOS),)))
    claim = named(plan, "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "70Gi"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_what_was_uploaded_stays_when_the_volume_is_no_longer_asked_for() -> None:
    asked = retriever({"serving": {"storage": {"size": "20Gi"}}}, collections=SERVER)
    claim = named(plan_retriever(asked), "PersistentVolumeClaim")
    plan = plan_retriever(replace(retriever(collections=SERVER), children=(claim,)))
    assert plan.keep == (ref_of(claim),)
    assert "PersistentVolumeClaim" not in kinds(plan)


def test_a_claim_that_cannot_become_what_is_asked_says_so() -> None:
    once = {"serving": {"storage": {"accessMode": "ReadWriteOnce"}}}
    claim = named(plan_retriever(retriever(once, collections=SERVER)), "PersistentVolumeClaim")
    shared = retriever({"serving": {"replicas": 2, "storage": {}}}, collections=SERVER)
    plan = plan_retriever(replace(shared, children=(claim,)))
    assert named(plan, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert told(plan, "Degraded") == ("True", "ClaimImmutable")
    assert "cannot change to ReadWriteMany" in condition(plan, "Degraded")["message"]


@pytest.mark.parametrize(("policy", "owned"), [("Delete", True), ("Retain", False)])
def test_a_claim_to_be_retained_has_no_owner(policy: str, owned: bool) -> None:
    plan = plan_collection(collection(EDGE, PHOTOS, {"deletionPolicy": policy}))
    claim = named(plan, "PersistentVolumeClaim")
    assert ("ownerReferences" in claim["metadata"]) == owned
    assert not plan.add_finalizer


def test_a_claim_keeps_what_cannot_be_changed_and_says_so() -> None:
    asked = {"storage": {"size": "5Gi", "storageClassName": "fast"}}
    plan = plan_collection(
        collection({"index": {"engine": "Edge", **asked}}, PHOTOS, children=(CLAIM,))
    )
    claim = named(plan, "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    assert claim["spec"]["storageClassName"] == "standard"
    assert told(plan, "Degraded") == ("True", "ClaimImmutable")


def test_a_claim_grows() -> None:
    asked = {"index": {"engine": "Edge", "storage": {"size": "20Gi"}}}
    plan = plan_collection(collection(asked, PHOTOS, children=(CLAIM,)))
    claim = named(plan, "PersistentVolumeClaim")
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert told(plan, "Degraded")[0] == "False"
