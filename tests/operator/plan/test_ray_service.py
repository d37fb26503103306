"""The RayService: what replaces a cluster, what does not, and what its status means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from tests.operator.plan.known import (
    ALL_APIS,
    EDGE,
    OTHER,
    QDRANT,
    READY,
    SETTINGS,
    VIT,
    Server,
    condition,
    facts,
    kinds,
    named,
    pod,
    retriever,
    rounds,
    told,
)

from lookalike_crds.config import ServingConfig
from lookalike_crds.retriever import RetrieverStatus
from lookalike_operator.plan.model import Manifest, Plan, RetrieverSnapshot, Sample
from lookalike_operator.plan.ray_cluster import TOKEN_AUTHENTICATION
from lookalike_operator.plan.retriever import plan_retriever

GPU = {"limits": {"cpu": "2500m", "nvidia.com/gpu": "1"}}
CLUSTER = "search-raycluster-a"


def _serving(**changes: Any) -> dict[str, Any]:
    return {"serving": {"runtime": "KubeRay", **changes}}


def _retriever(*parts: dict[str, Any], engine: dict[str, Any] = QDRANT, **changes: Any) -> (
    RetrieverSnapshot
):  # fmt: skip
    return retriever(*(parts or (_serving(),)), collections=(facts(engine, VIT),), **changes)


def _ray(plan: Plan) -> Manifest:
    return named(plan, "RayService")


def _arguments(plan: Plan) -> dict[str, Any]:
    config = yaml.safe_load(_ray(plan)["spec"]["serveConfigV2"])
    found: dict[str, Any] = config["applications"][0]["args"]
    return found


def _deployment(plan: Plan) -> dict[str, Any]:
    config = yaml.safe_load(_ray(plan)["spec"]["serveConfigV2"])
    found: dict[str, Any] = config["applications"][0]["deployments"][0]
    return found


@pytest.mark.parametrize(
    "change",
    [
        {**_serving(), "search": {"topK": 50}},
        _serving(replicas=5),
        {**_serving(), "access": {"rateLimit": {"requestsPerSecond": 3}}},
        {**_serving(), "access": {"ingress": {"host": "a.example"}}},
    ],
)
def test_a_light_change_touches_the_serve_config_alone(change: dict[str, Any]) -> None:
    before, after = plan_retriever(_retriever()), plan_retriever(_retriever(change))
    assert _ray(before)["spec"]["rayClusterConfig"] == _ray(after)["spec"]["rayClusterConfig"]
    assert _ray(before)["metadata"] == _ray(after)["metadata"]
    assert _ray(before)["spec"]["serveConfigV2"] != _ray(after)["spec"]["serveConfigV2"]


def test_a_heavy_change_replaces_the_cluster() -> None:
    before = plan_retriever(_retriever())
    after = plan_retriever(_retriever(_serving(image="another:2")))
    assert _ray(before)["spec"]["rayClusterConfig"] != _ray(after)["spec"]["rayClusterConfig"]


def test_another_model_replaces_the_cluster_although_its_config_is_no_file_there() -> None:
    before = plan_retriever(_retriever())
    after = plan_retriever(replace(_retriever(), collections=(facts(QDRANT),)))
    assert _ray(before)["spec"]["rayClusterConfig"] != _ray(after)["spec"]["rayClusterConfig"]


def test_another_model_of_an_edge_index_is_told_to_the_cluster_that_is_there() -> None:
    """Its one replica opens the new index beside the one that answers."""
    before, after = (
        plan_retriever(retriever(_serving(), collections=(facts(EDGE, model),)))
        for model in (VIT, OTHER)
    )
    assert _ray(before)["spec"]["rayClusterConfig"] == _ray(after)["spec"]["rayClusterConfig"]
    assert _arguments(before) == _arguments(after)
    [told_before], [told_after] = (
        _deployment(plan)["user_config"]["answering"] for plan in (before, after)
    )
    assert told_before["model"] != told_after["model"]
    assert told_before["index"]["path"] != told_after["index"]["path"]


def test_the_arguments_are_the_heavy_part_of_a_serving_config() -> None:
    config = yaml.safe_load(_ray(plan_retriever(_retriever()))["spec"]["serveConfigV2"])
    application = config["applications"][0]
    assert application["import_path"] == "lookalike_serving.kuberay:build"
    heavy = ServingConfig.model_validate(application["args"]["config"])
    assert heavy.retrievers == ()
    assert [c.name for c in heavy.collections] == ["catalogue"]


def test_a_replica_takes_its_worker_whole_and_the_head_takes_none() -> None:
    plan = plan_retriever(_retriever(_serving(resources=GPU)))
    assert _deployment(plan)["ray_actor_options"] == {"num_cpus": 3, "num_gpus": 1}
    cluster = _ray(plan)["spec"]["rayClusterConfig"]
    assert cluster["workerGroupSpecs"][0]["rayStartParams"]["num-cpus"] == "3"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert "nvidia.com/gpu" not in str(head["containers"][0]["resources"])


def test_the_head_holds_no_key_and_no_claim() -> None:
    head = _ray(plan_retriever(_retriever(engine=EDGE)))["spec"]["rayClusterConfig"][
        "headGroupSpec"
    ]["template"]["spec"]
    assert [volume["name"] for volume in head["volumes"]] == ["tmp", "autoscaler-identity"]


def test_what_places_serving_pods_does_not_place_the_head() -> None:
    template = {
        "spec": {
            "nodeSelector": {"gpu": "yes"},
            "containers": [{"name": "serving", "env": [{"name": "A", "value": "1"}],
                            "resources": {"limits": {"nvidia.com/gpu": "1"}}}],
        }
    }  # fmt: skip
    plan = plan_retriever(_retriever(_serving(podTemplate=template)))
    cluster = _ray(plan)["spec"]["rayClusterConfig"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    worker = cluster["workerGroupSpecs"][0]["template"]["spec"]
    assert "nodeSelector" not in head
    assert worker["nodeSelector"] == {"gpu": "yes"}
    assert {"name": "A", "value": "1"} in head["containers"][0]["env"]
    assert "nvidia.com/gpu" not in str(head["containers"][0]["resources"])


def test_people_change_the_cluster_by_the_names_of_its_parts() -> None:
    theirs = {
        "enableInTreeAutoscaling": False,
        "workerGroupSpecs": [{"groupName": "serving", "replicas": 1, "minReplicas": 1}],
    }
    cluster = _ray(plan_retriever(_retriever(_serving(rayCluster=theirs))))["spec"][
        "rayClusterConfig"
    ]
    assert cluster["enableInTreeAutoscaling"] is False
    assert len(cluster["workerGroupSpecs"]) == 1
    assert cluster["workerGroupSpecs"][0]["replicas"] == 1
    assert cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"]


# -- who gets in -----------------------------------------------------------------------------------


def test_ray_answers_nobody_without_the_clusters_token() -> None:
    cluster = _ray(plan_retriever(_retriever()))["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}


def test_a_kuberay_without_tokens_is_refused_unless_an_open_ray_is_asked_for() -> None:
    old = ALL_APIS - {TOKEN_AUTHENTICATION}
    plan = plan_retriever(_retriever(apis=old))
    assert told(plan, "Stalled") == ("True", "KubeRayTooOld")
    assert "1.5.1" in condition(plan, "Stalled")["message"]
    assert kinds(plan) == []
    open_ray = _serving(rayCluster={"authOptions": {"mode": "disabled"}})
    plan = plan_retriever(_retriever(open_ray, apis=old))
    assert told(plan, "Stalled")[0] == "False"
    assert _ray(plan)["spec"]["rayClusterConfig"]["authOptions"] == {"mode": "disabled"}


def test_only_the_autoscaler_can_talk_to_the_api_server() -> None:
    cluster = _ray(plan_retriever(_retriever()))["spec"]["rayClusterConfig"]
    at = "/var/run/secrets/kubernetes.io/serviceaccount"
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod_spec in (group["template"]["spec"] for group in groups):
        assert pod_spec["automountServiceAccountToken"] is False
        for container in pod_spec["containers"]:
            assert at not in [mount["mountPath"] for mount in container["volumeMounts"]]
    mounts = {m["mountPath"]: m["name"] for m in cluster["autoscalerOptions"]["volumeMounts"]}
    volumes = cluster["headGroupSpec"]["template"]["spec"]["volumes"]
    assert mounts[at] in [volume["name"] for volume in volumes if "projected" in volume]


def test_the_autoscaler_runs_the_operators_image_whatever_the_retriever_names() -> None:
    plan = plan_retriever(_retriever(_serving(image="theirs:1")))
    options = _ray(plan)["spec"]["rayClusterConfig"]["autoscalerOptions"]
    assert options["image"] == SETTINGS.serving_image


# -- live ------------------------------------------------------------------------------------------


def _live(
    plan: Plan, application: str = "RUNNING", *, ready: bool = True, pending: str = ""
) -> Manifest:
    wanted = _ray(plan)
    return {
        **wanted,
        "metadata": {**wanted["metadata"], "generation": 1},
        "status": {
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "activeServiceStatus": {
                "rayClusterName": CLUSTER,
                "applicationStatuses": {"lookalike": {"status": application}},
            },
            "pendingServiceStatus": {"rayClusterName": pending} if pending else {},
        },
    }


def _worker(name: str = "w", cluster: str = CLUSTER) -> Manifest:
    labels = {"ray.io/node-type": "worker", "ray.io/cluster": cluster}
    return pod(name, status=READY, labels=labels)


def test_ready_is_the_application_and_not_the_proxy() -> None:
    snapshot = _retriever()
    starting = _live(plan_retriever(snapshot), "DEPLOYING")
    plan = plan_retriever(replace(snapshot, children=(starting,), pods=(_worker(),)))
    assert told(plan, "Available")[0] == "False"
    running = _live(plan_retriever(snapshot))
    plan = plan_retriever(replace(snapshot, children=(running,), pods=(_worker(),)))
    assert told(plan, "Ready") == ("True", "Ready")


def test_an_application_updated_in_place_stays_available() -> None:
    plans = rounds(_retriever(), Server())
    status = RetrieverStatus.model_validate(plans[-1].status)
    snapshot = replace(_retriever(), status=status)
    updating = _live(plans[-1], "DEPLOYING")
    plan = plan_retriever(replace(snapshot, children=(updating,), pods=(_worker(),)))
    assert told(plan, "Available")[0] == "True"
    assert told(plan, "Ready") == ("False", "RollingOut")


def test_the_service_follows_the_cluster_that_answers() -> None:
    snapshot = _retriever()
    live = _live(plan_retriever(snapshot), pending="search-raycluster-b")
    pods = (_worker(), _worker("new", "search-raycluster-b"))
    plan = plan_retriever(replace(snapshot, children=(live,), pods=pods))
    assert named(plan, "Service")["spec"]["selector"]["ray.io/cluster"] == CLUSTER
    assert told(plan, "Available")[0] == "True"
    assert "a new Ray cluster starts beside the old one" in condition(plan, "Ready")["message"]


def test_a_failed_application_tells_serves_own_reason() -> None:
    snapshot = _retriever()
    live = _live(plan_retriever(snapshot), "DEPLOY_FAILED")
    application = live["status"]["activeServiceStatus"]["applicationStatuses"]["lookalike"]
    application["message"] = "Traceback\nValueError: model weights not found: x"
    plan = plan_retriever(replace(snapshot, children=(live,)))
    assert told(plan, "Ready") == ("False", "DeployFailed")
    assert condition(plan, "Ready")["message"] == "ValueError: model weights not found: x"


@pytest.mark.parametrize(("engine", "strategy"), [(QDRANT, "Recreate"), (EDGE, "Surge")])
def test_recreated_the_old_cluster_goes_before_the_new_one_comes(
    engine: dict[str, Any], strategy: str
) -> None:
    before = _retriever(_serving(updateStrategy=strategy), engine=engine)
    live = _live(plan_retriever(before))
    changed = _retriever(_serving(updateStrategy=strategy, image="another:2"), engine=engine)
    plan = plan_retriever(replace(changed, children=(live,), pods=(_worker(),)))
    assert "RayService" not in kinds(plan)
    assert "old pods end before new ones start" in condition(plan, "Progressing")["message"]
    ending = plan_retriever(replace(changed, pods=(_worker(),)))
    assert "RayService" not in kinds(ending)
    gone = plan_retriever(changed)
    assert "RayService" in kinds(gone)


def test_surging_the_old_cluster_stays_for_kuberay_to_replace() -> None:
    live = _live(plan_retriever(_retriever()))
    changed = _retriever(_serving(image="another:2"))
    plan = plan_retriever(replace(changed, children=(live,), pods=(_worker(),)))
    assert "RayService" in kinds(plan)
    assert told(plan, "Available")[0] == "True"
    assert told(plan, "Ready")[0] == "False"


def test_suspended_there_is_no_cluster() -> None:
    plan = plan_retriever(_retriever({**_serving(), "suspend": True}))
    assert "RayService" not in kinds(plan)
    assert told(plan, "Ready") == ("False", "Suspended")


# -- idle ------------------------------------------------------------------------------------------

IDLE = {
    **_serving(resources=GPU),
    "autoscaling": {
        "metrics": [{"preset": "Concurrency", "target": 5}],
        "idleTimeoutSeconds": 600,
    },
}


def _idle(seconds: float | None, desired: int) -> Plan:
    status = RetrieverStatus(desired_replicas=desired)
    return plan_retriever(
        _retriever(IDLE, status=status, idle_seconds=seconds, samples=(Sample(0.0),))
    )


def test_idle_serve_keeps_none_and_starts_one_at_the_next_request() -> None:
    plan = _idle(601, 1)
    assert plan.status["desiredReplicas"] == 0
    deployment = _deployment(plan)
    assert "num_replicas" not in deployment
    assert deployment["autoscaling_config"]["min_replicas"] == 0
    assert told(plan, "ScalingActive") == ("True", "Idle")
    assert told(plan, "Ready") == ("True", "Idle")


def test_a_ray_service_that_is_ready_without_a_worker_is_idle_and_does_not_answer_itself() -> None:
    running = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "activeServiceStatus": {
            "rayClusterName": CLUSTER,
            "applicationStatuses": {"lookalike": {"status": "RUNNING"}},
        },
    }
    live = {**_ray(_idle(601, 0)), "status": running}
    status = RetrieverStatus(desired_replicas=0)
    plan = plan_retriever(_retriever(IDLE, status=status, idle_seconds=601, children=(live,)))
    for about in ("Available", "Ready"):
        assert told(plan, about) == ("True", "Idle")
        assert "the next one starts a replica" in condition(plan, about)["message"]


def test_idle_is_a_light_change() -> None:
    awake, idle = _ray(_idle(1, 1)), _ray(_idle(601, 1))
    assert awake["spec"]["rayClusterConfig"] == idle["spec"]["rayClusterConfig"]


@pytest.mark.parametrize(
    ("seconds", "before", "after"),
    [
        (None, 0, 0),  # no replica, nobody to tell
        (5.0, 0, 1),  # a request has started one
        (None, 2, 2),  # metrics are missing: held
        (5.0, 1, 1),
        (700.0, 0, 0),
    ],
)
def test_idleness_begins_and_ends_by_requests(
    seconds: float | None, before: int, after: int
) -> None:
    assert _idle(seconds, before).status["desiredReplicas"] == after


def test_standalone_never_goes_to_none_since_nobody_would_hold_requests() -> None:
    spec = {**IDLE, "serving": {"runtime": "Standalone"}}
    plan = plan_retriever(_retriever(spec, idle_seconds=5000.0, samples=(Sample(0.0),)))
    assert plan.status["desiredReplicas"] == 1
    assert "needs runtime KubeRay" in condition(plan, "ScalingActive")["message"] or (
        told(plan, "ScalingActive")[0] == "False"
    )
