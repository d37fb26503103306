"""What is planned for a Retriever: who may serve, with how many, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.operator.plan.deployed import CRASH, SERVER, all_ready, live_deployment, pod_template
from tests.operator.plan.known import (
    NOW,
    OTHER,
    QDRANT,
    READY,
    VIT,
    Server,
    condition,
    facts,
    kinds,
    meta,
    named,
    pod,
    retriever,
    rounds,
    said_of_changes,
    told,
)

from lookalike_crds.image_collection import ImageCollectionStatus
from lookalike_crds.naming import described
from lookalike_crds.progress import Fetching, WorkerProgress
from lookalike_crds.retriever import CalibrationStatus, RetrieverStatus
from lookalike_crds.retriever_report import RetrieverReport
from lookalike_operator.plan.conditions import judged, merged
from lookalike_operator.plan.indexes import stored
from lookalike_operator.plan.model import (
    CollectionFacts,
    InvalidCollection,
    ObjectRef,
    RetrieverSnapshot,
    Trouble,
    ref_of,
)
from lookalike_operator.plan.names import CONFIG_DIGEST
from lookalike_operator.plan.retriever import plan_retriever

UNANSWERED = "http://qdrant:6333 does not answer: connection refused"


def _without_server() -> tuple[CollectionFacts, ...]:
    no = judged("IndexReady", False, "QdrantUnavailable", UNANSWERED)
    return (replace(SERVER[0], status=ImageCollectionStatus(conditions=merged((), (no,), 1, NOW))),)


def _starting(late: bool) -> RetrieverSnapshot:
    """Its only pod runs and is not ready. `late`: for longer than it may take."""
    snapshot = retriever(collections=SERVER)
    status = {"replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}
    live = live_deployment(plan_retriever(snapshot), **status)
    if late:
        live["status"]["conditions"] = [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        ]
    return replace(snapshot, children=(live,), pods=(pod(status={"phase": "Running"}),))


@pytest.mark.parametrize("late", [False, True])
def test_pods_that_wait_for_an_index_server_say_so(late: bool) -> None:
    waiting = _starting(late)
    assert told(plan_retriever(waiting), "Ready")[1] == ("NotReadyInTime" if late else "Starting")
    plan = plan_retriever(replace(waiting, collections=_without_server()))
    assert told(plan, "Ready") == ("False", "QdrantUnavailable")
    assert condition(plan, "Ready")["message"] == f"ImageCollection catalogue: {UNANSWERED}"


@pytest.mark.parametrize("late", [False, True])
def test_pods_that_wait_for_weights_tell_how_many_have_arrived(late: bool) -> None:
    starting = _starting(late)
    fetching = WorkerProgress(fetching=Fetching(done=312_000_000, total=605_000_000))
    plan = plan_retriever(replace(starting, progress={"pod": fetching}))
    assert told(plan, "Available") == told(plan, "Ready") == ("False", "Downloading")
    assert condition(plan, "Available")["message"].startswith("312 of 605 MB")
    assert plan.requeue_after == 30, "no event tells of the next megabyte"
    assert plan_retriever(starting).requeue_after == 30
    ready = replace(starting, pods=(pod(status=READY),))
    assert plan_retriever(ready).requeue_after is None


def test_pods_that_crash_tell_that_first() -> None:
    snapshot = retriever(collections=_without_server())
    status = {"replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}
    live = live_deployment(plan_retriever(snapshot), **status)
    plan = plan_retriever(replace(snapshot, children=(live,), pods=(pod(status=CRASH),)))
    assert told(plan, "Ready") == ("False", "CrashLoopBackOff")


# -- from nothing to ready -------------------------------------------------------------------------


def test_a_retriever_becomes_ready_and_then_nothing_happens() -> None:
    snapshot, server = retriever({"serving": {"replicas": 2}}, collections=SERVER), Server()
    plans = rounds(snapshot, server)
    assert told(plans[0], "Ready") == ("False", "Starting")
    assert told(plans[-1], "Ready") == ("True", "Ready")
    assert condition(plans[-1], "Ready")["message"] == (
        "2 replicas answer at http://search.shop.svc:8000"
    )
    assert plans[-1].status["replicas"] == 2
    assert plans[-1].requeue_after is None
    assert said_of_changes(replace(snapshot, children=server.children()), plans[-1]) == ()


def test_however_far_a_new_deployment_is_with_its_first_pod_the_same_is_told() -> None:
    snapshot = retriever(collections=SERVER)
    first = plan_retriever(snapshot)
    made = named(first, "Deployment")
    for status in ({}, {"observedGeneration": 1}, {"observedGeneration": 1, "replicas": 0}):
        meta_ = {**made["metadata"], "generation": 1}
        live = {**made, "metadata": meta_, "status": status}
        assert plan_retriever(replace(snapshot, children=(live,))).status == first.status


# -- another model ---------------------------------------------------------------------------------


def test_another_model_is_served_once_the_collection_says_its_index_is_complete() -> None:
    old = facts(QDRANT, VIT)
    plan = plan_retriever(retriever(collections=(old,)))
    changed = facts(QDRANT, OTHER)
    serving = ImageCollectionStatus(
        index_name="shop-catalogue-e6f211f6",
        active_model=described(old.spec.model),
        active_model_spec=stored(old.spec.model),
    )
    while_filling = plan_retriever(retriever(collections=(replace(changed, status=serving),)))
    assert while_filling.objects == plan.objects
    switched = plan_retriever(retriever(collections=(changed,)))
    digest = pod_template(switched)["metadata"]["annotations"][CONFIG_DIGEST]
    assert digest != pod_template(plan)["metadata"]["annotations"][CONFIG_DIGEST]


# -- live pods -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ready", "progressing"),
    [
        (all_ready(3), ("True", "Ready"), ("False", "Complete")),
        ({**all_ready(3), "updatedReplicas": 1}, ("False", "RollingOut"), ("True", "RollingOut")),
        ({**all_ready(3), "replicas": 4}, ("False", "RollingOut"), ("True", "RollingOut")),
        ({**all_ready(2), "updatedReplicas": 3, "replicas": 3}, ("False", "RollingOut"),
         ("True", "RollingOut")),
        ({}, ("False", "Starting"), ("True", "RollingOut")),
    ],
)  # fmt: skip
def test_a_rollout_is_told_as_it_goes(
    status: dict[str, int], ready: tuple[str, str], progressing: tuple[str, str]
) -> None:
    snapshot = retriever({"serving": {"replicas": 3}}, collections=SERVER)
    live = live_deployment(plan_retriever(snapshot), **status)
    plan = plan_retriever(replace(snapshot, children=(live,)))
    assert told(plan, "Ready") == ready
    assert told(plan, "Progressing") == progressing


def test_ready_pods_of_the_spec_before_are_not_ready_for_this_one() -> None:
    snapshot = retriever(collections=SERVER)
    live = live_deployment(plan_retriever(snapshot), **all_ready(1))
    changed = retriever({"serving": {"image": "another:2"}}, collections=SERVER)
    plan = plan_retriever(replace(changed, children=(live,)))
    assert told(plan, "Ready") == ("False", "RollingOut")
    assert told(plan, "Available") == ("True", "ReplicasAvailable")


def test_a_crash_is_the_reason_that_nothing_is_ready() -> None:
    snapshot = retriever(collections=SERVER)
    live = live_deployment(plan_retriever(snapshot), replicas=1, updatedReplicas=1)
    plan = plan_retriever(replace(snapshot, children=(live,), pods=(pod(status=CRASH),)))
    assert told(plan, "Ready") == ("False", "CrashLoopBackOff")
    assert condition(plan, "Ready")["message"] == "model weights not found: x.safetensors"
    assert told(plan, "Progressing") == ("False", "CrashLoopBackOff")
    assert ("Warning", "CrashLoopBackOff") in [(e.type, e.reason) for e in plan.events]


def test_a_crash_of_the_new_pods_leaves_the_endpoint_and_degrades_it() -> None:
    snapshot = retriever(collections=SERVER)
    status = {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    live = live_deployment(plan_retriever(snapshot), **status)
    pods = (pod("old", status=READY), pod("new", status=CRASH))
    plan = plan_retriever(replace(snapshot, children=(live,), pods=pods))
    assert told(plan, "Available") == ("True", "ReplicasAvailable")
    assert told(plan, "Degraded") == ("True", "CrashLoopBackOff")
    assert told(plan, "Ready") == ("False", "CrashLoopBackOff")


def test_a_missing_secret_is_named_before_the_pod_that_waits_for_it() -> None:
    snapshot = retriever(collections=SERVER, missing_secrets=("keys/api",))
    plan = plan_retriever(snapshot)
    assert told(plan, "Ready") == ("False", "SecretNotFound")
    assert "keys/api" in condition(plan, "Degraded")["message"]


WAITING_FOR_A_PERSON: dict[str, dict[str, Any]] = {
    "InsufficientResources": {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False",
         "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}]},
    "ImagePullBackOff": {"phase": "Pending", "containerStatuses": [
        {"name": "serving", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
    "CreateContainerConfigError": {"phase": "Pending", "containerStatuses": [
        {"name": "serving", "state": {"waiting": {"reason": "CreateContainerConfigError"}}}]},
    "OOMKilled": {"phase": "Running", "containerStatuses": [
        {"name": "serving", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
         "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
}  # fmt: skip


@pytest.mark.parametrize("reason", WAITING_FOR_A_PERSON)
@pytest.mark.parametrize("runtime", ["Standalone", "KubeRay"])
def test_what_only_a_person_can_mend_stalls(reason: str, runtime: str) -> None:
    snapshot = retriever({"serving": {"runtime": runtime}}, collections=SERVER)
    plan = plan_retriever(snapshot)
    live = live_deployment(plan, replicas=1, updatedReplicas=1) if runtime == "Standalone" else None
    children = (live or {**named(plan, "RayService"), "status": {}},)
    labels = {"ray.io/node-type": "worker"} if runtime == "KubeRay" else {}
    waiting = pod(status=WAITING_FOR_A_PERSON[reason], labels=labels)
    plan = plan_retriever(replace(snapshot, children=children, pods=(waiting,)))
    assert told(plan, "Stalled") == ("True", reason)
    assert told(plan, "Ready") == ("False", reason)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('pods "a" is forbidden: exceeded quota: gpus, used: 2, limited: 2', "QuotaExceeded"),
        ('pods "a" is forbidden: violates PodSecurity "restricted:latest"', "PodSecurity"),
    ],
)
def test_pods_that_the_api_server_refuses_stall(message: str, reason: str) -> None:
    snapshot = retriever(collections=SERVER)
    live = live_deployment(plan_retriever(snapshot))
    refusal = {"type": "ReplicaFailure", "status": "True", "message": message}
    live["status"]["conditions"] = [refusal]
    plan = plan_retriever(replace(snapshot, children=(live,)))
    assert told(plan, "Stalled") == ("True", reason)


def test_a_missing_secret_stalls_what_does_not_answer_and_degrades_what_does() -> None:
    snapshot = retriever(collections=SERVER, missing_secrets=("keys/api",))
    assert told(plan_retriever(snapshot), "Stalled") == ("True", "SecretNotFound")
    live = live_deployment(plan_retriever(snapshot), **all_ready(1))
    plan = plan_retriever(replace(snapshot, children=(live,)))
    assert told(plan, "Stalled")[0] == "False"
    assert told(plan, "Degraded") == ("True", "SecretNotFound")


def test_a_reason_stays_while_pods_crash_and_are_made_anew() -> None:
    snapshot = retriever({"serving": {"runtime": "KubeRay"}}, collections=SERVER)
    live = {**named(plan_retriever(snapshot), "RayService"), "status": {}}
    labels = {"ray.io/node-type": "worker"}
    killed = pod(status=WAITING_FOR_A_PERSON["OOMKilled"], labels=labels)
    starting = pod("anew", status={"phase": "Running"}, labels=labels)
    reasons = []
    for pods in ((killed,), (starting,), (), (killed,), (starting,)):
        plan = plan_retriever(replace(snapshot, children=(live,), pods=pods))
        reasons.append((told(plan, "Ready"), told(plan, "Stalled")))
        snapshot = replace(snapshot, status=RetrieverStatus.model_validate(plan.status))
    assert set(reasons) == {(("False", "OOMKilled"), ("True", "OOMKilled"))}
    changed = replace(snapshot, meta=replace(snapshot.meta, generation=2))
    plan = plan_retriever(replace(changed, children=(live,), pods=(starting,)))
    assert told(plan, "Ready") == ("False", "Starting")


def test_a_replica_that_is_ill_for_its_index_tells_of_the_index() -> None:
    snapshot = retriever({"serving": {"runtime": "KubeRay"}}, collections=_without_server())
    application = {"status": "UNHEALTHY", "message": "collections.catalogue: unreachable"}
    status = {"activeServiceStatus": {"applicationStatuses": {"lookalike": application}}}
    live = {**named(plan_retriever(snapshot), "RayService"), "status": status}
    plan = plan_retriever(replace(snapshot, children=(live,)))
    assert told(plan, "Ready") == ("False", "QdrantUnavailable")
    assert told(plan, "Stalled")[0] == "False"
    plan = plan_retriever(replace(snapshot, collections=SERVER, children=(live,)))
    assert told(plan, "Stalled") == ("True", "Unhealthy")


def test_what_went_wrong_in_a_write_is_told() -> None:
    trouble = Trouble("WriteFailed", "InternalError: failed calling webhook")
    plan = plan_retriever(retriever(collections=SERVER, trouble=trouble))
    assert told(plan, "Degraded") == ("True", "WriteFailed")
    assert told(plan, "Ready") == ("False", "WriteFailed")
    assert told(plan, "Stalled")[0] == "False"
    defect = Trouble("Unforeseen", "TypeError: list indices must be integers")
    plan = plan_retriever(retriever(collections=SERVER, trouble=defect))
    assert told(plan, "Stalled") == ("True", "Unforeseen")


def test_a_collection_that_is_there_and_invalid_is_not_called_missing() -> None:
    invalid = InvalidCollection("catalogue", ("spec.model.name: is required",))
    snapshot = replace(
        retriever(collections=SERVER), collections=(), invalid_collections=(invalid,)
    )
    plan = plan_retriever(snapshot)
    assert told(plan, "Stalled") == ("True", "CollectionInvalid")
    message = condition(plan, "Ready")["message"]
    assert "spec.model.name: is required" in message
    assert "create" not in message


# -- in the way ------------------------------------------------------------------------------------


def test_a_name_that_is_taken_is_told_and_looked_at_again_alone() -> None:
    service = ObjectRef("v1", "Service", "shop", "search")
    fine = retriever(collections=SERVER)
    live = live_deployment(plan_retriever(fine), **all_ready(1))
    plan = plan_retriever(replace(fine, children=(live,), foreign=(service,)))
    assert kinds(plan) == ["Service"]
    assert plan.once == ()
    assert plan.keep == (ref_of(live),)
    assert told(plan, "Stalled") == ("True", "NameTaken")
    assert "lookalike.dev/adopt" in condition(plan, "Stalled")["message"]
    assert told(plan, "Available")[0] == "True"


def test_what_the_api_server_does_not_take_is_told_in_its_words_and_tried_again() -> None:
    said = 'Deployment.apps "search" is invalid: spec.template.spec.containers[1].image: Required'
    refused = ((ObjectRef("apps/v1", "Deployment", "shop", "search"), said),)
    plan = plan_retriever(retriever(collections=SERVER, refused=refused))
    assert told(plan, "Stalled") == ("True", "Refused")
    assert said in condition(plan, "Ready")["message"]
    assert "Deployment" in kinds(plan)


def test_pods_that_never_become_ready_are_told_when_their_time_is_up() -> None:
    snapshot = retriever(collections=SERVER)
    live = live_deployment(plan_retriever(snapshot), replicas=1, updatedReplicas=1)
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    live["status"]["conditions"] = [late]
    starting = pod(status={"phase": "Running", "conditions": []})
    plan = plan_retriever(replace(snapshot, children=(live,), pods=(starting,)))
    assert told(plan, "Ready") == ("False", "NotReadyInTime")
    assert "GET /readyz does not succeed" in condition(plan, "Ready")["message"]


def test_a_route_without_its_api_degrades_and_the_rest_goes_on() -> None:
    route = {"access": {"httpRoute": {"gateway": "public"}}}
    plan = plan_retriever(retriever(route, collections=SERVER, apis=frozenset()))
    assert told(plan, "Degraded") == ("True", "GatewayApiMissing")
    assert "HTTPRoute" not in kinds(plan)
    assert "Deployment" in kinds(plan)


def test_deleted_it_is_the_garbage_collectors() -> None:
    plan = plan_retriever(retriever(meta=meta("search", deleting=True)))
    assert plan.hands_off
    assert plan.status == {}


def test_a_calibration_is_told_and_kept_while_no_pod_answers() -> None:
    stale = CalibrationStatus(
        holds=False,
        changed=("model of photos",),
        made_at="2026-03-01T12:00:00Z",
        basis="judgments",
        thresholds=(),
    )
    snapshot = replace(retriever(collections=SERVER), report=RetrieverReport(calibration=stale))
    status = plan_retriever(snapshot).status
    assert status["calibration"]["changed"] == ["model of photos"]
    assert "Calibrate again: `lookalike calibrate --save`" in stale.in_words
    later = replace(snapshot, status=RetrieverStatus.model_validate(status))
    silent = plan_retriever(replace(later, report=None))
    assert silent.status["calibration"] == status["calibration"]
    assert "calibration" not in plan_retriever(replace(later, report=RetrieverReport())).status
