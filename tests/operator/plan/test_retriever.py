"""What is planned for a Retriever: who may serve, with how many, and what is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.operator.plan.known import (
    EDGE,
    NOW,
    OTHER,
    PHOTOS,
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
    retriever_spec,
    rounds,
    said_of_changes,
    told,
)

from lookalike_crds.image_collection import ImageCollectionStatus
from lookalike_crds.naming import described
from lookalike_crds.retriever import RetrieverStatus
from lookalike_operator.plan.conditions import judged, merged
from lookalike_operator.plan.indexes import stored
from lookalike_operator.plan.model import (
    CollectionFacts,
    InvalidCollection,
    Manifest,
    ObjectRef,
    Plan,
    RetrieverFacts,
    RetrieverSnapshot,
    Sample,
    Trouble,
    ref_of,
)
from lookalike_operator.plan.names import CONFIG_DIGEST, PAUSED
from lookalike_operator.plan.retriever import plan_retriever

SERVER = (facts(QDRANT, VIT),)


UNANSWERED = "http://qdrant:6333 does not answer: connection refused"


def _without_server() -> tuple[CollectionFacts, ...]:
    no = judged("IndexReady", False, "QdrantUnavailable", UNANSWERED)
    return (replace(SERVER[0], status=ImageCollectionStatus(conditions=merged((), (no,), 1, NOW))),)


@pytest.mark.parametrize("late", [False, True])
def test_pods_that_wait_for_an_index_server_say_so(late: bool) -> None:
    snapshot = retriever(collections=SERVER)
    live = _live(plan_retriever(snapshot), replicas=1, updatedReplicas=1, unavailableReplicas=1)
    if late:
        live["status"]["conditions"] = [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        ]
    waiting = replace(snapshot, children=(live,), pods=(pod(status={"phase": "Running"}),))
    assert told(plan_retriever(waiting), "Ready")[1] == ("NotReadyInTime" if late else "Starting")
    plan = plan_retriever(replace(waiting, collections=_without_server()))
    assert told(plan, "Ready") == ("False", "QdrantUnavailable")
    assert condition(plan, "Ready")["message"] == f"ImageCollection catalogue: {UNANSWERED}"


def test_pods_that_crash_tell_that_first() -> None:
    snapshot = retriever(collections=_without_server())
    live = _live(plan_retriever(snapshot), replicas=1, updatedReplicas=1, unavailableReplicas=1)
    plan = plan_retriever(replace(snapshot, children=(live,), pods=(pod(status=CRASH),)))
    assert told(plan, "Ready") == ("False", "CrashLoopBackOff")


def _live(plan: Plan, **status: int) -> Manifest:
    """The plan's Deployment as its controller leaves it."""
    deployment = named(plan, "Deployment")
    return {
        **deployment,
        "metadata": {**deployment["metadata"], "generation": 2},
        "status": {"observedGeneration": 2, **status},
    }


def _all(count: int) -> dict[str, int]:
    fields = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
    return dict.fromkeys(fields, count)


def _template(plan: Plan) -> Manifest:
    found: Manifest = named(plan, "Deployment")["spec"]["template"]
    return found


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


def test_secrets_are_asked_for_once_and_hold_nothing_in_the_plan() -> None:
    plan = plan_retriever(retriever(collections=SERVER))
    assert [o["metadata"]["name"] for o in plan.once] == ["search-internal", "search-api-keys"]
    assert not any(key in o for o in plan.once for key in ("data", "stringData"))


def test_keys_of_ones_own_are_used_in_place_of_made_ones() -> None:
    own = {"access": {"apiKeysSecretRef": {"name": "keys", "key": "api"}}}
    plan = plan_retriever(retriever(own, collections=SERVER))
    assert [o["metadata"]["name"] for o in plan.once] == ["search-internal"]
    assert "/etc/lookalike-keys/api" in named(plan, "ConfigMap")["data"]["serving.json"]


# -- what restarts pods, and what does not ---------------------------------------------------------

LIGHT: dict[str, dict[str, Any]] = {
    "defaults": {"search": {"topK": 50, "minScore": 0.3}},
    "stages": {"search": {"stages": [{"type": "Diversity"}]}},
    "weights": {"collections": [{"name": "catalogue", "weight": 2.0}]},
    "rate limit": {"access": {"rateLimit": {"requestsPerSecond": 3}}},
    "replicas": {"serving": {"replicas": 4}},
    "ingress": {"access": {"ingress": {"host": "a.example"}}},
}
HEAVY: dict[str, dict[str, Any]] = {
    "image": {"serving": {"image": "another:2"}},
    "resources": {"serving": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
    "pod template": {"serving": {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}}},
    "keys": {"access": {"apiKeysSecretRef": {"name": "keys", "key": "api"}}},
}


def _changed(change: dict[str, Any]) -> RetrieverSnapshot:
    plain = retriever(collections=SERVER)
    named_ = {"collections": [{"name": "catalogue"}]}
    return replace(plain, spec=type(plain.spec).model_validate({**named_, **change}))  # type: ignore[union-attr]


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_change_restarts_no_pod(name: str) -> None:
    before, after = plan_retriever(_changed({})), plan_retriever(_changed(LIGHT[name]))
    assert _template(before) == _template(after)
    assert before.objects != after.objects


@pytest.mark.parametrize("name", HEAVY)
def test_a_heavy_change_restarts_pods(name: str) -> None:
    before, after = plan_retriever(_changed({})), plan_retriever(_changed(HEAVY[name]))
    assert _template(before) != _template(after)


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
    digest = _template(switched)["metadata"]["annotations"][CONFIG_DIGEST]
    assert digest != _template(plan)["metadata"]["annotations"][CONFIG_DIGEST]


def test_collections_in_another_order_restart_nothing() -> None:
    two = (facts(QDRANT, VIT), facts(QDRANT, VIT, name="archive"))
    one, other = retriever(collections=two), retriever(collections=(two[1], two[0]))
    assert _template(plan_retriever(one)) == _template(plan_retriever(other))


@pytest.mark.parametrize(
    ("parts", "engine", "strategy"),
    [
        ({}, QDRANT, {"type": "RollingUpdate",
                      "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ({"serving": {"updateStrategy": "Recreate"}}, QDRANT, {"type": "Recreate"}),
        ({}, EDGE, {"type": "Recreate"}),
    ],
)  # fmt: skip
def test_pods_are_replaced_without_a_gap_where_they_can_be(
    parts: dict[str, Any], engine: dict[str, Any], strategy: dict[str, Any]
) -> None:
    plan = plan_retriever(retriever(parts, collections=(facts(engine),)))
    assert named(plan, "Deployment")["spec"]["strategy"] == strategy
    says = condition(plan, "Progressing")["message"]
    assert ("old pods end before new ones start" in says) == (strategy["type"] == "Recreate")


# -- live pods -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ready", "progressing"),
    [
        (_all(3), ("True", "Ready"), ("False", "Complete")),
        ({**_all(3), "updatedReplicas": 1}, ("False", "RollingOut"), ("True", "RollingOut")),
        ({**_all(3), "replicas": 4}, ("False", "RollingOut"), ("True", "RollingOut")),
        ({**_all(2), "updatedReplicas": 3, "replicas": 3}, ("False", "RollingOut"),
         ("True", "RollingOut")),
        ({}, ("False", "Starting"), ("True", "RollingOut")),
    ],
)  # fmt: skip
def test_a_rollout_is_told_as_it_goes(
    status: dict[str, int], ready: tuple[str, str], progressing: tuple[str, str]
) -> None:
    snapshot = retriever({"serving": {"replicas": 3}}, collections=SERVER)
    live = _live(plan_retriever(snapshot), **status)
    plan = plan_retriever(replace(snapshot, children=(live,)))
    assert told(plan, "Ready") == ready
    assert told(plan, "Progressing") == progressing


def test_ready_pods_of_the_spec_before_are_not_ready_for_this_one() -> None:
    snapshot = retriever(collections=SERVER)
    live = _live(plan_retriever(snapshot), **_all(1))
    changed = retriever({"serving": {"image": "another:2"}}, collections=SERVER)
    plan = plan_retriever(replace(changed, children=(live,)))
    assert told(plan, "Ready") == ("False", "RollingOut")
    assert told(plan, "Available") == ("True", "ReplicasAvailable")


CRASH = {
    "phase": "Running",
    "containerStatuses": [
        {
            "name": "serving",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {
                "terminated": {"exitCode": 1, "message": "model weights not found: x.safetensors"}
            },
        }
    ],
}


def test_a_crash_is_the_reason_that_nothing_is_ready() -> None:
    snapshot = retriever(collections=SERVER)
    live = _live(plan_retriever(snapshot), replicas=1, updatedReplicas=1)
    plan = plan_retriever(replace(snapshot, children=(live,), pods=(pod(status=CRASH),)))
    assert told(plan, "Ready") == ("False", "CrashLoopBackOff")
    assert condition(plan, "Ready")["message"] == "model weights not found: x.safetensors"
    assert told(plan, "Progressing") == ("False", "CrashLoopBackOff")
    assert ("Warning", "CrashLoopBackOff") in [(e.type, e.reason) for e in plan.events]


def test_a_crash_of_the_new_pods_leaves_the_endpoint_and_degrades_it() -> None:
    snapshot = retriever(collections=SERVER)
    status = {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    live = _live(plan_retriever(snapshot), **status)
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
    live = _live(plan, replicas=1, updatedReplicas=1) if runtime == "Standalone" else None
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
    live = _live(plan_retriever(snapshot))
    refusal = {"type": "ReplicaFailure", "status": "True", "message": message}
    live["status"]["conditions"] = [refusal]
    plan = plan_retriever(replace(snapshot, children=(live,)))
    assert told(plan, "Stalled") == ("True", reason)


def test_a_missing_secret_stalls_what_does_not_answer_and_degrades_what_does() -> None:
    snapshot = retriever(collections=SERVER, missing_secrets=("keys/api",))
    assert told(plan_retriever(snapshot), "Stalled") == ("True", "SecretNotFound")
    live = _live(plan_retriever(snapshot), **_all(1))
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


def _rival(name: str, days: int, **changes: Any) -> RetrieverFacts:
    made = meta(name, created=NOW - timedelta(days=days), **changes)
    return RetrieverFacts(made, retriever_spec(), available=True)


TABLE: dict[str, tuple[RetrieverSnapshot, str, str]] = {
    "spec": (
        retriever(spec=None, problems=("spec.collections: is required: add it",)),
        "InvalidSpec", "is required",
    ),
    "replicas": (
        retriever({"serving": {"replicas": 2}}), "EdgeSingleReplica", "write 1, or use engine",
    ),
    "autoscaling": (
        retriever({"autoscaling": {"metrics": [{"query": "x", "target": 1}], "maxReplicas": 3}}),
        "EdgeSingleReplica", "spec.autoscaling.maxReplicas is 3",
    ),
    "rival": (retriever(rivals=(_rival("older", 9),)), "IndexInUse", "Retriever older serves"),
    "kuberay": (
        retriever({"serving": {"runtime": "KubeRay"}}, apis=frozenset()),
        "KubeRayMissing", "install the KubeRay operator",
    ),
    "server": (
        retriever(collections=(facts({"index": {"engine": "Qdrant"}}),)),
        "NoQdrantAddress", "url, urls or serviceRef",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_is_in_the_way_is_told_and_children_are_left(name: str) -> None:
    snapshot, reason, says = TABLE[name]
    plan = plan_retriever(snapshot)
    assert plan.hands_off
    assert plan.objects == ()
    assert told(plan, "Stalled") == ("True", reason)
    assert told(plan, "Ready") == ("False", reason)
    assert says in condition(plan, "Stalled")["message"]


def test_a_name_that_is_taken_is_told_and_looked_at_again_alone() -> None:
    service = ObjectRef("v1", "Service", "shop", "search")
    fine = retriever(collections=SERVER)
    live = _live(plan_retriever(fine), **_all(1))
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
    live = _live(plan_retriever(snapshot), replicas=1, updatedReplicas=1)
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    live["status"]["conditions"] = [late]
    starting = pod(status={"phase": "Running", "conditions": []})
    plan = plan_retriever(replace(snapshot, children=(live,), pods=(starting,)))
    assert told(plan, "Ready") == ("False", "NotReadyInTime")
    assert "GET /readyz does not pass" in condition(plan, "Ready")["message"]


@pytest.mark.parametrize(
    "rivals",
    [
        (_rival("younger", 0),),
        (_rival("older", 9, deleting=True),),
        (replace(_rival("older", 9), spec=retriever_spec(collections=("other",))),),
    ],
)
def test_a_rival_that_is_younger_or_going_or_elsewhere_is_none(
    rivals: tuple[RetrieverFacts, ...],
) -> None:
    assert not plan_retriever(retriever(rivals=rivals)).hands_off


def test_retrievers_may_share_a_server() -> None:
    shared = retriever(collections=SERVER, rivals=(_rival("older", 9),))
    assert not plan_retriever(shared).hands_off


def test_of_two_of_one_age_exactly_one_serves() -> None:
    ages = {"created": NOW - timedelta(days=2)}
    one = retriever(meta=meta("a", **ages), rivals=(_rival("b", 2),))
    other = retriever(meta=meta("b", **ages), rivals=(_rival("a", 2),))
    assert plan_retriever(one).hands_off != plan_retriever(other).hands_off


def test_a_collection_that_is_not_there_yet_is_waited_for() -> None:
    snapshot = replace(retriever(collections=SERVER), collections=())
    plan = plan_retriever(snapshot)
    assert plan.hands_off
    assert told(plan, "Ready") == ("False", "CollectionNotFound")
    # GitOps applies in any order: this is no failure.
    assert told(plan, "Stalled")[0] == "False"


def test_what_stalls_leaves_the_endpoint_that_there_is() -> None:
    fine = retriever(collections=SERVER)
    live = _live(plan_retriever(fine), **_all(1))
    broken = replace(fine, children=(live,), spec=None, problems=("spec: is wrong",))
    plan = plan_retriever(broken)
    assert told(plan, "Available") == ("True", "ReplicasAvailable")
    assert plan.status["replicas"] == 1


def test_a_route_without_its_api_degrades_and_the_rest_goes_on() -> None:
    route = {"access": {"httpRoute": {"gateway": "public"}}}
    plan = plan_retriever(retriever(route, collections=SERVER, apis=frozenset()))
    assert told(plan, "Degraded") == ("True", "GatewayApiMissing")
    assert "HTTPRoute" not in kinds(plan)
    assert "Deployment" in kinds(plan)


def test_paused_it_is_left_alone() -> None:
    snapshot = retriever(collections=SERVER)
    live = _live(plan_retriever(snapshot), **_all(1))
    paused = meta("search", annotations={PAUSED: "true"})
    plan = plan_retriever(replace(snapshot, meta=paused, children=(live,)))
    assert plan.hands_off
    says = condition(plan, "Ready")["message"]
    assert says == "1 replica answers at http://search.shop.svc:8000"
    assert told(plan, "Paused") == ("True", "Annotated")


def test_deleted_it_is_the_garbage_collectors() -> None:
    plan = plan_retriever(retriever(meta=meta("search", deleting=True)))
    assert plan.hands_off
    assert plan.status == {}


# -- how many --------------------------------------------------------------------------------------

SCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 6,
                          "metrics": [{"preset": "Concurrency", "target": 5}]}}  # fmt: skip


def _scaled(*samples: Sample, desired: int | None = 2, **changes: Any) -> RetrieverSnapshot:
    snapshot = retriever(SCALED, collections=SERVER, samples=samples, **changes)
    live = _live(plan_retriever(snapshot), **_all(2))
    status = RetrieverStatus(desired_replicas=desired)
    return replace(snapshot, children=(live,), status=status)


def test_with_autoscaling_the_number_is_the_operators() -> None:
    plan = plan_retriever(_scaled(Sample(10.0)))
    assert named(plan, "Deployment")["spec"]["replicas"] == 4
    assert plan.status["desiredReplicas"] == 4
    assert plan.status["lastScaleReason"] == "2 -> 4: Concurrency 10 is 2 x its target 5"
    assert [e.reason for e in plan.events if e.reason == "Scaled"] == ["Scaled"]
    assert plan.requeue_after == 15
    assert plan.recommendation is not None


def test_a_number_that_stays_is_no_write() -> None:
    first, second = plan_retriever(_scaled(Sample(5.1))), plan_retriever(_scaled(Sample(4.9)))
    assert first.status == second.status


def test_without_metrics_replicas_are_held_and_a_condition_says_why() -> None:
    plan = plan_retriever(_scaled(Sample(None, "http://prometheus:9090 does not answer")))
    assert plan.status["desiredReplicas"] == 2
    assert told(plan, "ScalingActive") == ("False", "MetricsMissing")
    assert "http://prometheus:9090 does not answer" in condition(plan, "ScalingActive")["message"]


def test_secrets_that_pods_may_wait_for_are_looked_for_again() -> None:
    creating = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    snapshot = retriever(collections=SERVER)
    waits = pod(status={"phase": "Pending", "containerStatuses": [creating]})
    live = _live(plan_retriever(snapshot), replicas=1, updatedReplicas=1)
    plan = plan_retriever(replace(snapshot, children=(live,), pods=(waits,)))
    assert plan.doubtful
    assert plan.requeue_after == 15
    assert "has no container yet" in condition(plan, "Ready")["message"]
    # A pod without a node waits for something else, of which a watch tells.
    pending = replace(snapshot, pods=(pod(status={"phase": "Pending"}),))
    assert not plan_retriever(pending).doubtful
    assert plan_retriever(pending).requeue_after is None


def test_without_autoscaling_the_number_is_the_specs() -> None:
    plan = plan_retriever(retriever({"serving": {"replicas": 3}}, collections=SERVER))
    assert named(plan, "Deployment")["spec"]["replicas"] == 3
    assert told(plan, "ScalingActive") == ("False", "Disabled")


def test_suspended_there_are_no_pods_and_everything_else_stays() -> None:
    plan = plan_retriever(retriever({"suspend": True}, SCALED, collections=SERVER))
    assert named(plan, "Deployment")["spec"]["replicas"] == 0
    assert "Service" in kinds(plan)
    assert told(plan, "Ready") == ("False", "Suspended")
    assert plan.requeue_after is None


def test_the_scale_subresource_finds_the_pods() -> None:
    plan = plan_retriever(retriever(collections=SERVER))
    labels = _template(plan)["metadata"]["labels"]
    selector = dict(part.split("=") for part in plan.status["selector"].split(","))
    assert selector.items() <= labels.items()
    assert selector == named(plan, "Deployment")["spec"]["selector"]["matchLabels"]


def test_an_edge_retriever_mounts_its_index_and_sources_where_ingestion_does() -> None:
    plan = plan_retriever(retriever(collections=(facts(EDGE, PHOTOS),)))
    mounts = _template(plan)["spec"]["containers"][0]["volumeMounts"]
    paths = {mount["mountPath"] for mount in mounts}
    assert "/var/lib/lookalike-indexes/catalogue" in paths
    assert "/var/lib/lookalike-sources/catalogue/products" in paths


# -- what lies beside the index --------------------------------------------------------------------


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
    assert _config(plan)["keeps_uploads"] is True
    assert _config(plan)["run_dir"] == "/tmp/lookalike-run"
    assert named(plan, "Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"


def test_a_volume_of_one_node_is_free_before_the_next_pod_starts() -> None:
    spec = {"serving": {"storage": {"accessMode": "ReadWriteOnce"}}}
    plan = plan_retriever(retriever(spec, collections=SERVER))
    assert named(plan, "PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert named(plan, "Deployment")["spec"]["strategy"]["type"] == "Recreate"
    assert _config(plan)["run_dir"] is None, "the lock in the volume is one more guard"


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
    assert "cannot become ReadWriteMany" in condition(plan, "Degraded")["message"]
