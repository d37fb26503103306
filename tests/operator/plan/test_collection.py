"""What is planned for an ImageCollection beside its runs: place, model, index, end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.operator.plan.known import (
    CLAIM,
    EDGE,
    NOW,
    OTHER,
    PHOTOS,
    VIT,
    collection,
    condition,
    kinds,
    pod,
    searching,
    told,
)
from tests.operator.plan.moments import after, done, ingested, on_server, status_of

from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import (
    CollectionSnapshot,
    IndexAction,
    IndexFacts,
    IndexOp,
    ObjectRef,
    Trouble,
)
from lookalike_operator.plan.names import RUN_NOW

# -- Edge ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retrievers", "says"),
    [
        ((), "no Retriever names catalogue in its collections: create one"),
        ((searching(available=False),), "starts when Retriever search is available"),
    ],
)
def test_an_edge_run_waits_for_the_pod_that_holds_the_index(
    retrievers: tuple[Any, ...], says: str
) -> None:
    plan = plan_collection(collection(EDGE, PHOTOS, children=(CLAIM,), retrievers=retrievers))
    assert plan.once == ()
    assert told(plan, "Ingested") == ("False", "WaitingForRetriever")
    assert says in condition(plan, "Ingested")["message"]


def test_an_edge_index_on_another_claim_of_the_same_name_is_filled_anew() -> None:
    first = collection(EDGE, PHOTOS, children=(CLAIM,), retrievers=(searching(),))
    full = ingested(first)
    assert plan_collection(full).once == ()
    other = {**CLAIM, "metadata": {**CLAIM["metadata"], "uid": "claim-2"}}
    anew = replace(full, children=(other, *full.children[1:]))
    plan = plan_collection(anew)
    assert len(plan.once) == 1
    [lost] = [each.message for each in plan.events if each.reason == "IndexLost"]
    assert "catalogue-index was replaced by an empty one, and 10 documents went with it" in lost
    assert told(plan, "Degraded")[0] == "False", "its sources bring them again"


def test_what_was_uploaded_is_lost_with_the_claim_of_an_edge_index() -> None:
    full = collection(EDGE, children=(CLAIM,), retrievers=(searching(),))
    full = replace(full, status=status_of(plan_collection(full)))
    plan = plan_collection(full)
    assert told(plan, "Degraded")[0] == "False"
    assert told(plan, "Ready")[0] == "True"
    being_made = replace(full, children=(), status=status_of(plan))
    pending = {**CLAIM, "metadata": {**CLAIM["metadata"], "uid": "claim-2"}, "status": {}}
    other = {**pending, "status": {"phase": "Bound"}}
    now = replace(being_made, status=status_of(plan_collection(being_made)))
    for claim in (pending, pending, other, other):
        now = replace(now, children=(claim,))
        plan = plan_collection(now)
        assert told(plan, "Degraded") == ("True", "IndexLost")
        says = condition(plan, "Degraded")["message"]
        assert "PersistentVolumeClaim catalogue-index was replaced by an empty one" in says
        assert "upload again" in says
        now = replace(now, status=status_of(plan))
    changed = replace(now, meta=replace(now.meta, generation=2))
    assert told(plan_collection(changed), "Degraded")[0] == "False"


def test_a_claim_that_nothing_was_ever_written_to_is_no_loss() -> None:
    pending = {**CLAIM, "status": {"phase": "Pending"}}
    first = collection(EDGE, children=(pending,), retrievers=(searching(),))
    first = replace(first, status=status_of(plan_collection(first)))
    other = {**CLAIM, "metadata": {**CLAIM["metadata"], "uid": "claim-2"}}
    assert told(plan_collection(replace(first, children=(other,))), "Degraded")[0] == "False"


# -- another model (more in test_model_change.py) --------------------------------------------------


def test_going_back_to_the_old_model_is_no_new_index() -> None:
    full = ingested(on_server(PHOTOS, VIT))
    changed = replace(full, spec=on_server(PHOTOS, OTHER).spec)
    running = after(replace(changed, children=()), plan_collection(changed))
    back = plan_collection(replace(running, spec=full.spec))
    assert back.status["indexName"] == full.status.index_name


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"provider": "OpenClip", "name": "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"},
         "OpenClip hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ({"provider": "OpenClip", "name": "ViT-B-32",
          "weights": "/var/lib/lookalike/weights/of/the/team/ViT-B-32/open_clip_pytorch_model.bin"},
         "OpenClip ViT-B-32 …/open_clip_pytorch_model.bin"),
        ({"provider": "OpenClip", "name": "ViT-B-32", "weights": "s3://models/clip/" + "x" * 200},
         "OpenClip ViT-B-32 …/" + "x" * 39 + "…"),
        ({"provider": "OpenClip", "name": "hf-hub:a/b", "revision": "0123456789abcdef0123"},
         "OpenClip hf-hub:a/b @0123456789ab"),
    ],
)  # fmt: skip
def test_a_model_is_told_in_few_words(model: dict[str, Any], words: str) -> None:
    told_ = plan_collection(on_server(PHOTOS, {"model": model})).status["activeModel"]
    assert told_ == words
    assert len(told_) <= 60


def test_precision_alone_changes_no_index() -> None:
    full = ingested(on_server(PHOTOS, VIT))
    precise = {"model": {**VIT["model"], "precision": "FP16"}}
    plan = plan_collection(replace(full, spec=on_server(PHOTOS, precise).spec))
    assert plan.once == ()
    assert plan.status["indexName"] == full.status.index_name


# -- the index on a server -------------------------------------------------------------------------


def test_payload_indexes_and_the_alias_are_mended() -> None:
    fields = {"fields": [{"name": "kind", "type": "Keyword"}, {"name": "price", "type": "Float"}]}
    snapshot = on_server(PHOTOS, fields)
    assert snapshot.index is not None
    name = snapshot.index.name
    drifted = replace(
        snapshot,
        index=replace(snapshot.index, payload_indexes={"price": "integer"}, alias_target=None),
    )
    assert plan_collection(drifted).index_ops == (
        IndexOp(IndexAction.ENSURE_PAYLOAD_INDEX, name, ("kind", "keyword")),
        IndexOp(IndexAction.ENSURE_PAYLOAD_INDEX, name, ("price", "float")),
        IndexOp(IndexAction.POINT_ALIAS, name, ("shop.catalogue",)),
    )


def test_an_index_made_for_another_distance_is_refused_with_the_remedy() -> None:
    snapshot = on_server(PHOTOS)
    assert snapshot.index is not None
    plan = plan_collection(
        replace(snapshot, index=replace(snapshot.index, made_for={"distance": "Dot"}))
    )
    assert told(plan, "IndexReady") == ("False", "IndexMismatch")
    assert "write Dot" in condition(plan, "IndexReady")["message"]


def test_namespaces_do_not_share_an_index_on_one_server() -> None:
    here = on_server(PHOTOS)
    there = replace(here, meta=replace(here.meta, namespace="other"))
    assert plan_collection(here).status["indexName"] != plan_collection(there).status["indexName"]


def test_the_loss_of_what_was_uploaded_is_told_until_there_is_something_again() -> None:
    full = on_server(VIT)
    full = replace(full, status=status_of(plan_collection(full)))
    assert full.index is not None
    gone = replace(full, index=IndexFacts(full.index.name, exists=False))
    plan = plan_collection(gone)
    assert told(plan, "IndexReady") == ("False", "IndexLost")
    assert told(plan, "Stalled") == ("True", "IndexLost")
    assert "held 10 documents" in condition(plan, "Ready")["message"]
    assert ("Warning", "IndexLost") in [(e.type, e.reason) for e in plan.events]
    # A serving pod makes it anew, empty.
    for snapshot in (full, gone):
        empty = replace(
            snapshot,
            index=replace(full.index, points=0),
            status=status_of(plan_collection(snapshot)),
        )
        for _ in range(3):
            plan = plan_collection(empty)
            assert told(plan, "Degraded") == ("True", "IndexLost")
            assert "held 10 documents" in condition(plan, "Degraded")["message"]
            empty = replace(empty, status=status_of(plan))
    again = replace(empty, index=replace(full.index, points=1))
    assert told(plan_collection(again), "Degraded")[0] == "False"
    changed = replace(empty, meta=replace(empty.meta, generation=2))
    assert told(plan_collection(changed), "Degraded")[0] == "False"


# -- in the way ------------------------------------------------------------------------------------


def test_a_name_that_is_taken_starts_no_run() -> None:
    taken = ObjectRef("v1", "ConfigMap", "shop", "catalogue-ingestion")
    plan = plan_collection(replace(on_server(), foreign=(taken,)))
    assert kinds(plan) == ["ConfigMap"]
    assert plan.once == ()
    assert told(plan, "Stalled") == ("True", "NameTaken")
    assert "lookalike.dev/adopt" in condition(plan, "Stalled")["message"]


def test_what_the_api_server_does_not_take_is_told_in_its_words() -> None:
    ref = ObjectRef("batch/v1", "CronJob", "shop", "catalogue-products")
    plan = plan_collection(on_server(refused=((ref, "spec.schedule: Invalid value"),)))
    assert told(plan, "Stalled") == ("True", "Refused")
    assert (
        "CronJob/catalogue-products: spec.schedule: Invalid value"
        in (condition(plan, "Ready")["message"])
    )


def test_a_missing_secret_is_named() -> None:
    plan = plan_collection(replace(on_server(), missing_secrets=("qdrant-key/api-key",)))
    assert told(plan, "Degraded") == ("True", "SecretNotFound")
    assert "qdrant-key/api-key" in condition(plan, "Ingested")["message"]
    assert plan.once == ()


def _running(status: dict[str, Any]) -> CollectionSnapshot:
    first = on_server()
    job = next(o for o in plan_collection(first).once if o["kind"] == "Job")
    owner = {**job, "metadata": {**job["metadata"], "uid": "uid-of-job"}}
    return after(first, plan_collection(first), pod("p", owner=owner, status=status))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False",
             "message": "0/1 nodes are available: 1 Insufficient memory."}]},
         "InsufficientResources"),
        ({"phase": "Failed", "containerStatuses": [
            {"name": "ingestion", "state": {"terminated": {"exitCode": 137,
                                                           "reason": "OOMKilled"}}}]},
         "OOMKilled"),
    ],
)  # fmt: skip
def test_an_ingestion_that_waits_for_a_person_stalls(status: dict[str, Any], reason: str) -> None:
    running = _running(status)
    plan = plan_collection(running)
    assert told(plan, "Stalled") == ("True", reason)
    assert told(plan, "Ready") == ("False", reason)
    (old,) = running.pods
    owners = old["metadata"]["ownerReferences"]
    number = {"annotations": {"batch.kubernetes.io/job-completion-index": "0"}}
    meta_ = {"ownerReferences": owners, "creationTimestamp": "2026-03-01T11:59:00Z", **number}
    anew = pod("q", status={"phase": "Running"}, **meta_)
    before = {**old, "metadata": {**old["metadata"], **number, "creationTimestamp": "2026-03-01"}}
    assert told(plan_collection(replace(running, pods=(anew, before))), "Stalled")[0] == "False"


def test_a_key_that_is_not_there_or_refused_waits_for_a_person() -> None:
    for reason in ("SecretNotFound", "ApiKeyRefused"):
        snapshot = on_server()
        assert snapshot.index is not None
        facts = IndexFacts(snapshot.index.name, error="no key", reason=reason)
        plan = plan_collection(replace(snapshot, index=facts))
        assert told(plan, "IndexReady") == ("False", reason)
        assert told(plan, "Stalled") == ("True", reason)
    unreachable = plan_collection(
        replace(on_server(), index=IndexFacts("x", error="connection refused"))
    )
    assert told(unreachable, "Stalled")[0] == "False"


PENDING = {**CLAIM, "status": {"phase": "Pending"}}


def test_a_claim_whose_pod_no_node_takes_says_so() -> None:
    gpu = Trouble("InsufficientResources", "Insufficient nvidia.com/gpu: 0 of 1 nodes")
    waiting = replace(searching(available=False), trouble=gpu)
    plan = plan_collection(collection(EDGE, PHOTOS, children=(PENDING,), retrievers=(waiting,)))
    assert told(plan, "IndexReady") == ("False", "InsufficientResources")
    assert told(plan, "Stalled") == ("True", "InsufficientResources")
    assert "Retriever search: Insufficient nvidia.com/gpu" in condition(plan, "Ready")["message"]


def test_a_claim_whose_storage_class_is_not_there_names_it() -> None:
    said = {"catalogue-index": 'storageclass.storage.k8s.io "fast" not found'}
    plan = plan_collection(
        collection(EDGE, PHOTOS, children=(PENDING,), retrievers=(searching(),), unprovisioned=said)
    )
    assert told(plan, "Stalled") == ("True", "StorageClassNotFound")
    assert "no StorageClass fast" in condition(plan, "Ready")["message"]


def test_a_claim_without_a_volume_is_looked_at_once_more_when_somebody_may_have_said_why() -> None:
    made = {"creationTimestamp": "2026-03-01T11:59:50Z"}
    claim = {**PENDING, "metadata": {**PENDING["metadata"], **made}}
    young = collection(EDGE, children=(claim,))
    assert plan_collection(young).requeue_after == 5.0
    assert plan_collection(replace(young, now=NOW + timedelta(seconds=5))).requeue_after is None


def test_what_an_old_server_lacks_is_said_and_a_too_old_one_is_not_ready() -> None:
    snapshot = on_server()
    assert snapshot.index is not None
    for version, said in [("1.20.0", None), ("1.19.2", "contains"), ("1.18.0", "starts_with")]:
        plan = plan_collection(replace(snapshot, index=replace(snapshot.index, version=version)))
        assert told(plan, "IndexReady") == ("True", "IndexExists")
        (condition,) = (c for c in plan.status["conditions"] if c["type"] == "IndexReady")
        lacks = f"Qdrant {version} lacks the filters " in condition["message"]
        assert lacks == (said is not None)
        assert said is None or said in condition["message"]
    plan = plan_collection(replace(snapshot, index=replace(snapshot.index, version="1.15.5")))
    assert told(plan, "IndexReady") == ("False", "QdrantTooOld")
    assert told(plan, "Stalled") == ("True", "QdrantTooOld")


# -- events ----------------------------------------------------------------------------------------


def test_events_tell_of_changes_and_not_of_rest() -> None:
    snapshot = on_server()
    plan = plan_collection(snapshot)
    assert [event.reason for event in plan.events] == ["Ingesting"]
    running = after(snapshot, plan)
    assert plan_collection(running).events == ()
    full = done(running)
    reasons = [event.reason for event in plan_collection(full).events]
    assert "Ready" in reasons
    assert plan_collection(ingested(snapshot)).events == ()


def test_kinds_of_an_edge_collection() -> None:
    assert kinds(plan_collection(collection(EDGE, PHOTOS))) == [
        "PersistentVolumeClaim",
        "ConfigMap",
    ]


def test_a_field_whose_type_was_changed_is_told_and_searches_go_on() -> None:
    snapshot = ingested(on_server())
    assert snapshot.index is not None
    told_ = "field price is Integer and was Float: 64 documents hold values that are no Integer"
    plan = plan_collection(replace(snapshot, index=replace(snapshot.index, retyped=(told_,))))
    assert told(plan, "Ready") == ("True", "Ready")
    assert told(plan, "Degraded") == ("True", "FieldTypeChanged")
    message = condition(plan, "Degraded")["message"]
    assert message == f"{told_} (an ingestion is started by the annotation {RUN_NOW})"
