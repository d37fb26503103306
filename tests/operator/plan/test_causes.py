"""Each cause as Kubernetes hides it, and the line a stranger reads."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.plan.known import READY, pod

from lookalike_operator.plan.causes import (
    claim_cause,
    deployment_cause,
    last_line,
    pod_cause,
    ray_cause,
    worst,
)


def _container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    status = {"name": "serving", "image": "registry.example/serving:2", "state": state, **more}
    return {"phase": "Running", "containerStatuses": [status]}


def _waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return _container({"waiting": {"reason": reason, "message": message}}, **more)


def _unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


TABLE = {
    "crash with a sentence at the end": (
        _waiting(
            "CrashLoopBackOff",
            "back-off 40s restarting failed container",
            lastState={
                "terminated": {
                    "exitCode": 1,
                    "message": "Traceback …\nmodel weights not found: laion2b in s3://models\n",
                }
            },
        ),
        "CrashLoopBackOff: model weights not found: laion2b in s3://models",
    ),
    "crash whose last line is JSON": (
        _waiting(
            "CrashLoopBackOff",
            lastState={
                "terminated": {"exitCode": 1, "message": '{"level": "ERROR", "message": "no key"}'}
            },
        ),
        "CrashLoopBackOff: no key",
    ),
    "crash without a word": (
        _waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 3}}),
        "CrashLoopBackOff: exit code 3",
    ),
    "ended and not yet restarted": (
        _container({"terminated": {"exitCode": 2, "message": "bad config: port"}}),
        "Error: bad config: port",
    ),
    "out of memory": (
        _waiting(
            "CrashLoopBackOff",
            lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        ),
        "OOMKilled: container serving used more memory than its limit of 2Gi: raise "
        "resources.limits.memory",
    ),
    "image": (
        _waiting("ImagePullBackOff", 'Back-off pulling image "registry.example/serving:2"'),
        "ImagePullBackOff: image registry.example/serving:2 cannot be pulled: Back-off pulling "
        'image "registry.example/serving:2"',
    ),
    "missing secret": (
        _waiting("CreateContainerConfigError", 'secret "keys" not found'),
        'CreateContainerConfigError: secret "keys" not found',
    ),
    "no GPU": (
        _unscheduled(
            "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are "
            "available: 2 No preemption victims found for incoming pod."
        ),
        "InsufficientResources: Insufficient nvidia.com/gpu: 0 of 2 nodes have enough free",
    ),
    "some nodes have enough but are tainted": (
        _unscheduled(
            "0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint {a: }."
        ),
        "InsufficientResources: Insufficient memory: 2 of 3 nodes have enough free",
    ),
    "taint": (
        _unscheduled(
            "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: }. preemption: 0/1 "
            "nodes are available: 1 Preemption is not helpful for scheduling."
        ),
        "Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint {gpu: }",
    ),
    "claim": (
        _unscheduled(
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ),
        "UnboundClaim: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims",
    ),
    "a StorageClass that is not there": (
        _unscheduled(
            'running PreFilter plugin "VolumeBinding": error getting PVC "shop/search-data": '
            'storageclass.storage.k8s.io "fast" not found'
        ),
        "StorageClassNotFound: the cluster has no StorageClass fast: create it, or delete the "
        "claim and set storageClassName to one of `kubectl get storageclass`",
    ),
    "a Ray process that was killed": (
        _container(
            {"running": {"startedAt": "2026-03-01T00:00:00Z"}},
            restartCount=2,
            lastState={
                "terminated": {
                    "exitCode": 1,
                    "message": "Some Ray subprocesses exited unexpectedly:\n\n  raylet [exit "
                    "code=-9]\n\nRemaining processes will be killed.",
                }
            },
        ),
        "OOMKilled: a Ray process in container serving was killed, usually for lack of memory: "
        "raise resources.limits.memory",
    ),
    "runs again after its second crash": (
        _container(
            {"running": {"startedAt": "2026-03-01T00:00:00Z"}},
            restartCount=2,
            lastState={"terminated": {"exitCode": 1, "message": "no weights"}},
        ),
        "CrashLoopBackOff: no weights",
    ),
    "evicted": (
        {
            "phase": "Failed",
            "reason": "Evicted",
            "message": "The node was low on resource: memory.",
        },
        "Evicted: The node was low on resource: memory.",
    ),
    "volumes": (
        {
            "phase": "Pending",
            "containerStatuses": [
                {"name": "serving", "state": {"waiting": {"reason": "ContainerCreating"}}}
            ],
        },
        "Starting: pod pod has no container yet: its node waits for a volume, for a Secret "
        "or ConfigMap in a volume, or for the image (kubectl describe pod shows which)",
    ),
    "about to be ready": (
        {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
        "Starting: pod pod is running, and its readiness probe does not succeed yet",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_pod_tells_its_cause(name: str) -> None:
    status, line = TABLE[name]
    found = pod(status=status)
    found["spec"] = {
        "containers": [{"name": "serving", "resources": {"limits": {"memory": "2Gi"}}}]
    }
    assert str(pod_cause(found)) == line


def test_a_ready_pod_has_no_cause() -> None:
    assert pod_cause(pod(status=READY)) is None


def test_a_pod_on_its_way_out_has_no_cause() -> None:
    status, _ = TABLE["crash without a word"]
    assert pod_cause(pod(status=status, deletionTimestamp="2026-03-01T00:00:00Z")) is None


def test_a_container_that_runs_again_after_a_crash_is_starting() -> None:
    status = _container(
        {"running": {"startedAt": "2026-03-01T00:00:00Z"}},
        lastState={"terminated": {"exitCode": 1, "message": "boom"}},
    )
    cause = pod_cause(pod(status=status))
    assert cause is not None
    assert cause.reason == "Starting"


def test_of_several_pods_the_crash_is_told_before_the_one_that_waits() -> None:
    pods = [
        pod("a", status=TABLE["no GPU"][0]),
        pod("b", status=TABLE["about to be ready"][0]),
        pod("c", status=TABLE["crash with a sentence at the end"][0]),
    ]
    cause = worst(pods)
    assert cause is not None
    assert cause.reason == "CrashLoopBackOff"
    assert worst(pods[:2]) == pod_cause(pods[0])


def test_a_quota_is_told_by_its_numbers() -> None:
    message = (
        'pods "search-7d-x" is forbidden: exceeded quota: gpus, requested: '
        "requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=2, limited: "
        "requests.nvidia.com/gpu=2"
    )
    condition = {"type": "ReplicaFailure", "status": "True", "message": message}
    cause = deployment_cause({"status": {"conditions": [condition]}})
    assert cause is not None
    assert cause.reason == "QuotaExceeded"
    assert "used: requests.nvidia.com/gpu=2" in cause.message
    assert "raise the ResourceQuota" in cause.message


@pytest.mark.parametrize(
    ("spec", "status", "line"),
    [
        ({"storageClassName": "fast"}, {"phase": "Bound"}, None),
        ({}, {"phase": "Pending"}, "NoStorageClass: PersistentVolumeClaim c names no StorageClass"),
        ({"storageClassName": "fast"}, {"phase": "Pending"}, "waits for a volume of StorageClass"),
        ({"storageClassName": "fast"}, {"phase": "Lost"}, "ClaimLost"),
    ],
)
def test_a_claim_tells_why_it_has_no_volume(
    spec: dict[str, Any], status: dict[str, Any], line: str | None
) -> None:
    cause = claim_cause({"metadata": {"name": "c"}, "spec": spec, "status": status})
    assert (cause is None) if line is None else (line in str(cause))


def test_a_claim_whose_class_is_not_there_names_it() -> None:
    claim = {"metadata": {"name": "c"}, "spec": {"storageClassName": "fast"},
             "status": {"phase": "Pending"}}  # fmt: skip
    cause = claim_cause(claim, 'storageclass.storage.k8s.io "fast" not found')
    assert cause is not None
    assert (cause.reason, cause.stuck) == ("StorageClassNotFound", True)
    assert "no StorageClass fast" in cause.message


def test_ray_serves_reason_is_found_below_the_service() -> None:
    deployment = {"status": "DEPLOY_FAILED", "message": "Traceback\nValueError: no weights"}
    application = {
        "status": "DEPLOY_FAILED",
        "message": "Failed to update",
        "serveDeploymentStatuses": {"Retriever": deployment},
    }
    status = {"pendingServiceStatus": {"applicationStatuses": {"lookalike": application}}}
    assert str(ray_cause({"status": status})) == "DeployFailed: ValueError: no weights"


@pytest.mark.parametrize(
    ("text", "line"),
    [("", ""), ("a\n\n", "a"), ("x\n" + "y" * 900, "y" * 399 + "…"), ("{not json", "{not json")],
)
def test_the_last_line_says_it(text: str, line: str) -> None:
    assert last_line(text) == line
