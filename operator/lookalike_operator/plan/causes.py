"""Why something does not run, in one line that a stranger understands.

Kubernetes reports the cause at pods, claims and controllers, but seldom where people look first:
the cause of a crashed container is the last line of its log, and that of a pending pod is in a
condition.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lookalike_crds.failures import OUT_OF_MEMORY
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.who_acts import waits_for_a_person

DOWNLOADING = "Downloading"
NOT_IN_TIME = "NotReadyInTime"
UNHEALTHY = "Unhealthy"
_LONGEST = 400
_CRASHES = 2
"""So many restarts are no accident."""


@dataclass(frozen=True, slots=True)
class Cause:
    """CamelCase reason and one line."""

    reason: str
    message: str

    @property
    def stuck(self) -> bool:
        """Whether it does not pass by itself: somebody has to act."""
        return waits_for_a_person(self.reason)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def worst(pods: Iterable[Manifest]) -> Cause | None:
    """The most telling cause among pods: crashes before images, images before scheduling,
    scheduling before waiting."""
    causes = [cause for pod in _by_name(pods) if (cause := pod_cause(pod)) is not None]
    return min(causes, key=_rank) if causes else None


_ORDER = (
    OUT_OF_MEMORY.condition_reason,
    "CrashLoopBackOff",
    "Error",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ImagePullBackOff",
    "InsufficientResources",
    "Unschedulable",
    "UnboundClaim",
    "Evicted",
)


def _rank(cause: Cause) -> int:
    return _ORDER.index(cause.reason) if cause.reason in _ORDER else len(_ORDER) - cause.stuck


def pod_cause(pod: Manifest) -> Cause | None:
    """Why a pod is not ready; None if it is ready or about to be."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return None
    if status.get("phase") == "Failed" and status.get("reason"):
        return Cause("Evicted" if status["reason"] == "Evicted" else str(status["reason"]),
                     last_line(status.get("message") or "the node ended the pod"))  # fmt: skip
    for container in _container_statuses(status):
        if (cause := _container_cause(pod, container)) is not None:
            return cause
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _unscheduled(
                condition.get("message") or "the pod is not scheduled to a node yet"
            )
    if is_being_created(pod):
        return Cause(
            "Starting",
            f"pod {pod['metadata']['name']} has no container yet: its node waits for a volume, "
            "for a Secret or ConfigMap in a volume, or for the image (kubectl describe pod "
            "shows which)",
        )
    if status.get("phase") == "Running" and not is_ready(pod):
        return Cause(
            "Starting",
            f"pod {pod['metadata']['name']} is running, and its readiness probe does not succeed "
            "yet",
        )
    return None


def is_ready(pod: Manifest) -> bool:
    """The pod takes requests and is not being deleted."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def is_starting(pod: Manifest) -> bool:
    """It runs, and takes no requests yet."""
    runs = (pod.get("status") or {}).get("phase") == "Running"
    return runs and not pod["metadata"].get("deletionTimestamp") and not is_ready(pod)


def is_being_created(pod: Manifest) -> bool:
    """It has a node and no container yet: no object says what the kubelet waits for."""
    containers = _container_statuses(pod.get("status") or {})
    waits = [((each.get("state") or {}).get("waiting") or {}).get("reason") for each in containers]
    return bool(waits) and {*waits} <= {"ContainerCreating", "PodInitializing"}


def _container_cause(pod: Manifest, container: Mapping[str, Any]) -> Cause | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    reason = waiting.get("reason")
    if reason in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"):
        detail = last_line(waiting.get("message") or "")
        image = container.get("image") or "the image"
        return Cause("ImagePullBackOff", f"image {image} cannot be pulled{_colon(detail)}")
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return Cause(reason, last_line(waiting.get("message") or "the container cannot be created"))
    crashed = reason == "CrashLoopBackOff" or bool(
        state.get("terminated") and ended.get("exitCode")
    )
    restarted = bool(ended.get("exitCode")) and not container.get("ready")
    # What crashed twice does not begin well by running: its reason stays until it is ready.
    again = restarted and int(container.get("restartCount") or 0) >= _CRASHES
    if ended.get("reason") == "OOMKilled" and (crashed or restarted):
        limit = _memory_limit(pod, str(container.get("name")))
        return Cause(
            OUT_OF_MEMORY.condition_reason,
            f"container {container.get('name')} used more memory than its limit"
            f"{f' of {limit}' if limit else ''}: raise resources.limits.memory",
        )
    if (crashed or again) and "[exit code=-9]" in str(ended.get("message") or ""):
        # Ray's own words for a process of its that the kernel killed, the container's first not.
        return Cause(
            OUT_OF_MEMORY.condition_reason,
            f"a Ray process in container {container.get('name')} was killed, usually for lack of "
            "memory: raise resources.limits.memory",
        )
    if crashed or again or (restarted and reason is None and "running" not in state):
        exit_code = ended.get("exitCode")
        said = last_line(ended.get("message") or "") or f"exit code {exit_code}"
        return Cause("CrashLoopBackOff" if reason == "CrashLoopBackOff" or again else "Error", said)
    return None


def _unscheduled(message: str) -> Cause:
    """The scheduler's message, which says of each reason on how many nodes it holds."""
    nodes = re.search(r"(\d+)/(\d+) nodes are available", message)
    total = int(nodes[2]) if nodes else None
    if (unknown := _unknown_class(message)) is not None:
        return unknown
    lacking = re.search(r"(\d+) Insufficient ([\w./-]+?)[.,]?(\s|$)", message)
    if lacking and total is not None:
        free = total - int(lacking[1])
        what = f"Insufficient {lacking[2]}: {free} of {total} nodes have enough free"
        return Cause("InsufficientResources", what)
    if "unbound immediate PersistentVolumeClaims" in message or "persistentvolumeclaim" in message:
        return Cause("UnboundClaim", _first_sentence(message))
    return Cause("Unschedulable", _first_sentence(message))


def claim_cause(claim: Manifest, said: str | None = None) -> Cause | None:
    """Why a claim has no volume; None if it has one. `said`: the last failure that its provisioner
    reported."""
    status = claim.get("status") or {}
    name = claim["metadata"]["name"]
    match status.get("phase"):
        case "Bound":
            return None
        case "Lost":
            return Cause(
                "ClaimLost",
                f"PersistentVolumeClaim {name} has lost its volume: delete the claim, and the "
                "collection is ingested again",
            )
    storage_class = (claim.get("spec") or {}).get("storageClassName")
    if storage_class is None:
        return Cause(
            "NoStorageClass",
            f"PersistentVolumeClaim {name} names no StorageClass and the cluster has no default: "
            f"set {_CLASS_FIELD[name.endswith('-data')]}",
        )
    if said is not None and (unknown := _unknown_class(said)) is not None:
        return unknown
    waits = f"PersistentVolumeClaim {name} waits for a volume of StorageClass {storage_class}"
    return Cause("ClaimPending", waits + _colon(last_line(said or "")))


_CLASS_FIELD = ("spec.index.storage.storageClassName", "spec.serving.storage.storageClassName")


def _unknown_class(message: str) -> Cause | None:
    """The provisioner or the scheduler says that there is no such StorageClass."""
    found = re.search(r'storageclass(?:es)?(?:\.storage\.k8s\.io)? "([^"]+)" not found', message)
    if found is None:
        return None
    return Cause(
        "StorageClassNotFound",
        f"the cluster has no StorageClass {found[1]}: create it, or delete the claim and set "
        "storageClassName to one of `kubectl get storageclass`",
    )


def deployment_cause(deployment: Manifest) -> Cause | None:
    """What keeps a Deployment from creating pods at all, such as a quota."""
    for condition in _conditions(deployment):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return refused_pod(condition.get("message") or "")
    return None


def never_ready(deployment: Manifest) -> Cause | None:
    """The Deployment's own deadline has passed, although nothing is wrong with any pod."""
    for condition in _conditions(deployment):
        if condition.get("reason") == "ProgressDeadlineExceeded":
            return Cause(
                NOT_IN_TIME,
                "no new pod has become ready in time: its readiness probe GET /readyz does not "
                "succeed; the log of the pod says what it waits for",
            )
    return None


def _conditions(controller: Manifest) -> Sequence[Mapping[str, Any]]:
    return (controller.get("status") or {}).get("conditions") or ()


def refused_pod(message: str) -> Cause:
    """The API server's refusal to create a pod."""
    line = last_line(message)
    quota = re.search(r"exceeded quota: (.*)", line)
    if quota:
        return Cause("QuotaExceeded", f"{quota[1]}: raise the ResourceQuota or request less")
    if "violates PodSecurity" in line:
        return Cause("PodSecurity", line)
    return Cause("FailedCreate", line or "pods cannot be created")


def ray_cause(ray_service: Manifest) -> Cause | None:
    """What KubeRay says is wrong with a RayService, its cluster or its application."""
    status = ray_service.get("status") or {}
    for part in ("pendingServiceStatus", "activeServiceStatus"):
        service = status.get(part) or {}
        for condition in (service.get("rayClusterStatus") or {}).get("conditions") or ():
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                return refused_pod(condition.get("message") or "")
        for application in (service.get("applicationStatuses") or {}).values():
            if application.get("status") in ("DEPLOY_FAILED", "UNHEALTHY"):
                return Cause(
                    "DeployFailed" if application["status"] == "DEPLOY_FAILED" else UNHEALTHY,
                    last_line(_application_message(application)) or "Ray Serve gives no reason",
                )
    return None


def _application_message(application: Mapping[str, Any]) -> str:
    deployments = (application.get("serveDeploymentStatuses") or {}).values()
    said = [d["message"] for d in deployments if d.get("message")]
    return str(said[0] if said else application.get("message") or "")


def job_cause(job: Manifest) -> Cause | None:
    """Why a Job has failed, as its controller says."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            return Cause(
                condition.get("reason") or "JobFailed", last_line(condition.get("message") or "")
            )
    return None


def last_line(text: str) -> str:
    """The last line that says something; the message of a log line that is JSON."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    if not lines:
        return ""
    line = lines[-1]
    if line.startswith("{"):
        try:
            found = json.loads(line)
            line = str(found.get("message") or found.get("detail") or line)
        except (ValueError, AttributeError):
            pass
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _first_sentence(message: str) -> str:
    """The scheduler repeats itself after the first: preemption does not help either."""
    return last_line(re.split(r"\.?\s+preemption:", message)[0].rstrip("."))


def _container_statuses(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]


def _memory_limit(pod: Manifest, container: str) -> str | None:
    for each in pod.get("spec", {}).get("containers") or ():
        if each.get("name") == container:
            limit = (each.get("resources") or {}).get("limits", {}).get("memory")
            return None if limit is None else str(limit)
    return None


def _by_name(pods: Iterable[Manifest]) -> list[Manifest]:
    return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))


def _colon(detail: str) -> str:
    return f": {detail}" if detail else ""
