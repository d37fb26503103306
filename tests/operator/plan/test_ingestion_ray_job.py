"""Ingestion with runtime Ray: the RayJob, and what is made of KubeRay's status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.operator.plan.known import ALL_APIS, PHOTOS, condition, ended, named, pod, result, told
from tests.operator.plan.moments import after, on_server, status_of

from lookalike_crds.failures import INDEX_MISMATCH
from lookalike_crds.progress import RunState
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.ingestion_ray_job import DECODERS, EMBEDDERS, as_job
from lookalike_operator.plan.model import CollectionSnapshot, Manifest, ref_of
from lookalike_operator.plan.names import RAY_JOB

GPU = {"limits": {"nvidia.com/gpu": "1"}}
SUCCEEDED = {
    "jobDeploymentStatus": "Complete",
    "jobStatus": "SUCCEEDED",
    "endTime": "2026-03-01T11:00:00Z",
}


def _on_ray(**ray: Any) -> CollectionSnapshot:
    ingestion = {"runtime": "Ray", "parallelism": 3, **({"ray": ray} if ray else {})}
    return on_server(PHOTOS, {"ingestion": ingestion}, apis=ALL_APIS)


def _ray_job(**ray: Any) -> Manifest:
    return named(plan_collection(_on_ray(**ray)), "RayJob")


def _groups(job: Manifest) -> dict[str, dict[str, Any]]:
    return {g["groupName"]: g for g in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]}


def _live(snapshot: CollectionSnapshot, status: dict[str, Any]) -> Manifest:
    (job,) = plan_collection(snapshot).once
    return {**job, "metadata": {**job["metadata"], "uid": "uid-of-ray-job"}, "status": status}


def _ended(status: dict[str, Any], message: str) -> CollectionSnapshot:
    """The RayJob has that status, and its submitter left that message."""
    snapshot = _on_ray()
    snapshot = after(snapshot, plan_collection(snapshot))
    live = _live(_on_ray(), status)
    submitter = pod("submitter", status=ended(message), labels=live["metadata"]["labels"])
    children = tuple(c for c in snapshot.children if c["kind"] != "RayJob")
    return replace(snapshot, children=(*children, live), pods=(submitter,))


def test_a_run_is_a_ray_job_instead_of_a_job() -> None:
    plan = plan_collection(_on_ray())
    assert [each["kind"] for each in plan.once] == ["RayJob"]
    assert len(plan.once[0]["metadata"]["name"]) <= 47, "KubeRay refuses longer names"
    assert told(plan, "Ingested") == ("False", "Ingesting")
    assert "RayJob catalogue-ingest" in condition(
        plan_collection(after(_on_ray(), plan)), "Ingested"
    )["message"]  # fmt: skip


def test_decoders_have_pods_of_their_own_and_gpus_are_for_the_model() -> None:
    groups = _groups(_ray_job(embedders={"minReplicas": 1, "maxReplicas": 2, "resources": GPU}))
    assert [groups[DECODERS][k] for k in ("minReplicas", "replicas", "maxReplicas")] == [3, 3, 3]
    assert [groups[EMBEDDERS][k] for k in ("minReplicas", "replicas", "maxReplicas")] == [1, 1, 2]
    assert groups[DECODERS]["rayStartParams"]["num-gpus"] == "0"
    assert groups[EMBEDDERS]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "1"}
    assert set(_groups(_ray_job())) == {DECODERS}, "without GPUs the model runs beside decoding"


def test_only_a_cluster_that_grows_has_an_autoscaler() -> None:
    fixed = _ray_job(embedders={"resources": GPU})["spec"]["rayClusterSpec"]
    grows = _ray_job(embedders={"maxReplicas": 2, "resources": GPU})["spec"]["rayClusterSpec"]
    assert "enableInTreeAutoscaling" not in fixed
    assert grows["enableInTreeAutoscaling"] is True


def test_nobody_without_the_token_runs_code_in_the_ray_cluster() -> None:
    assert _ray_job()["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    without = ALL_APIS - {"ray.io/v1/RayService:authOptions"}
    old = plan_collection(replace(_on_ray(), apis=without))
    assert told(old, "Stalled") == ("True", "KubeRayTooOld")
    none = plan_collection(replace(_on_ray(), apis=frozenset()))
    assert told(none, "Stalled") == ("True", "KubeRayMissing")
    assert none.once == ()


def test_every_pod_is_known_as_one_of_the_run() -> None:
    job = _ray_job()
    cluster = job["spec"]["rayClusterSpec"]
    templates = [job["spec"]["submitterPodTemplate"], cluster["headGroupSpec"]["template"]]
    templates += [group["template"] for group in cluster["workerGroupSpecs"]]
    for template in templates:
        assert template["metadata"]["labels"][RAY_JOB] == job["metadata"]["name"]


@pytest.mark.parametrize("status", ["", "Initializing", "Running", "Retrying", "Suspended"])
def test_a_ray_job_is_in_progress_until_kuberay_says_otherwise(status: str) -> None:
    assert as_job({"status": {"jobDeploymentStatus": status}})["status"]["conditions"] == []


def test_the_result_of_a_ray_job_is_recorded_as_that_of_a_job() -> None:
    plan = plan_collection(_ended(SUCCEEDED, result(new=7, unchanged=3)))
    assert told(plan, "Ingested") == ("True", "Completed")
    assert status_of(plan).sources[0].ingested == 10
    assert ref_of(_live(_on_ray(), {})) in plan.keep


def test_a_run_that_would_fail_again_is_not_a_success_of_its_ray_job() -> None:
    mismatch = result(RunState.FAILED, "another model", INDEX_MISMATCH.reason, new=0, listed=0)
    plan = plan_collection(_ended(SUCCEEDED, mismatch))
    assert plan.status["run"]["state"] == "Failed"
    assert plan.status["run"]["message"] == "another model"


def test_what_kuberay_says_of_a_failure_is_told() -> None:
    failed = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed",
              "message": "the driver was killed"}  # fmt: skip
    plan = plan_collection(_ended(failed, ""))
    assert plan.status["run"]["state"] == "Failed"
    assert "the driver was killed" in plan.status["run"]["message"]
