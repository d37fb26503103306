"""Ingestion with runtime Ray: a RayJob of KubeRay on a Ray cluster of its own.

    submitter pod -> Ray job on the head: lists, hands out keys, keeps the books
                     -> pods that decode -> actors with the model, in pods with GPUs if asked for

The submitter leaves the result in its termination message, as a pod of a Job does, and the head
answers how far the run is. So whatever observes Jobs observes RayJobs, once `as_job` has put
KubeRay's status into the words of a Job's.
"""

from __future__ import annotations

import shlex
from typing import Any

from lookalike_crds.image_collection import ImageCollectionSpec, RayIngestionSpec
from lookalike_operator.plan import places, ray_cluster, serving_pod
from lookalike_operator.plan.ingestion_pod import (
    PROGRESS,
    TERMINATION_LOG,
    file_of,
    ingestion_container,
    mounts,
    pod_template,
    run_environment,
    workers,
)
from lookalike_operator.plan.model import Manifest, Settings
from lookalike_operator.plan.names import RAY_JOB, RUN, Component, Owner, ingestion_ray_job
from lookalike_operator.plan.pod_template import digest_of

API = "ray.io/v1/RayJob"
KIND = "RayJob"
DECODERS, EMBEDDERS = "decoders", "embedders"

_RETRIES = 2
"""Each on a new Ray cluster."""
_SUBMITTER_RETRIES = 3
"""A submitter that is started again follows the Ray job that it finds."""
_SUBMITTER_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}}
_WORKER_REQUESTS = {"cpu": "1", "memory": "2Gi"}
"""A decoder for each CPU is a process of some 300 MB, beside the model if no GPU has it."""
_EMBEDDER_REQUESTS = {"memory": "4Gi"}
_RUN_LABEL = f"metadata.labels['{RAY_JOB}']"


def ingestion_ray_job_manifest(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    *,
    run: str,
    gateway: str | None,
) -> Manifest:
    """The RayJob of one run over all sources."""
    file = file_of(None)
    attempt = digest_of([run, _spec(owner, spec, settings, gateway, {RUN: run}, file)], 8)
    return ray_job(owner, spec, settings, run=run, attempt=attempt, file=file, gateway=gateway)


def ray_job(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    *,
    run: str,
    attempt: str,
    file: str,
    gateway: str | None,
) -> Manifest:
    """The RayJob that has `attempt` in its name. `file`: its config in the ConfigMap."""
    name = ingestion_ray_job(owner.name, attempt)
    labels = {RUN: run, RAY_JOB: name}
    return {
        "apiVersion": "ray.io/v1",
        "kind": KIND,
        "metadata": owner.metadata(name, Component.INGESTION, labels=labels),
        "spec": _spec(owner, spec, settings, gateway, labels, file),
    }


def as_job(ray_job: Manifest) -> Manifest:
    """A live RayJob with a status as a Job has it."""
    status = ray_job.get("status") or {}
    at = {"status": "True", "lastTransitionTime": status.get("endTime")}
    match status.get("jobDeploymentStatus"):
        case "Complete" if status.get("jobStatus") == "SUCCEEDED":
            conditions = [{"type": "Complete", **at}]
        case "Complete" | "Failed" | "ValidationFailed":
            reason = status.get("reason") or status.get("jobStatus") or "RayJobFailed"
            message = status.get("message") or f"the Ray job ended as {status.get('jobStatus')}"
            conditions = [{"type": "Failed", "reason": reason, "message": message, **at}]
        case _:
            conditions = []
    said = {"startTime": status.get("startTime"), "active": 0 if conditions else 1}
    return {**ray_job, "status": {**said, "conditions": conditions}}


def _spec(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    gateway: str | None,
    labels: dict[str, str],
    file: str,
) -> dict[str, Any]:
    """A RayJobSpec. Pods of the Ray cluster go as soon as the run has ended; the submitter stays
    until the RayJob is deleted."""
    driver = ["python", "-m", "lookalike_serving.ingest"]
    driver += ["--config", f"{places.CONFIG}/{file}", "--result", "-"]
    command = shlex.join(driver)
    return {
        "submissionMode": "K8sJobMode",
        "entrypoint": command,
        "backoffLimit": _RETRIES,
        "submitterConfig": {"backoffLimit": _SUBMITTER_RETRIES},
        "shutdownAfterJobFinishes": True,
        "submitterPodTemplate": _submitter(owner, spec, settings, labels, driver),
        "rayClusterSpec": _cluster(owner, spec, settings, gateway, labels),
    }


def _cluster(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    gateway: str | None,
    labels: dict[str, str],
) -> dict[str, Any]:
    asked = (spec.ingestion.ray or RayIngestionSpec()).embedders
    scales = bool(asked.gpus) and (asked.max_replicas or 0) > asked.min_replicas

    def of(resources: dict[str, Any]) -> dict[str, Any]:
        return _node(owner, spec, settings, gateway, labels, resources)

    decoding = serving_pod.resources(spec.ingestion.resources, _WORKER_REQUESTS)
    groups: list[dict[str, Any]] = [
        {
            "groupName": DECODERS,
            "replicas": workers(spec),
            "minReplicas": workers(spec),
            "maxReplicas": workers(spec),
            "rayStartParams": {"num-cpus": str(ray_cluster.cpus(decoding)), "num-gpus": "0"},
            "template": of(decoding),
        }
    ]
    if asked.gpus:
        embedding = serving_pod.resources(asked.resources, _EMBEDDER_REQUESTS)
        groups.append(
            {
                "groupName": EMBEDDERS,
                "replicas": asked.min_replicas,
                "minReplicas": asked.min_replicas,
                "maxReplicas": asked.max_replicas or asked.min_replicas,
                # Its CPUs are for the model: no decoder starts there.
                "rayStartParams": {"num-cpus": "0", "num-gpus": str(asked.gpus)},
                "template": of(embedding),
            }
        )
    head = _head(owner, spec, settings, gateway, labels)
    if scales:
        head["spec"]["volumes"].append(ray_cluster.autoscaler_identity())
    tmp = [places.empty("tmp", places.TMP).volume_mount]
    return {
        "rayVersion": settings.ray_version,
        "authOptions": dict(ray_cluster.AUTHENTICATION),
        **(ray_cluster.autoscaling(settings, tmp) if scales else {}),
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},
            "template": head,
        },
        "workerGroupSpecs": groups,
    }


def _node(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    gateway: str | None,
    labels: dict[str, str],
    resources: dict[str, Any],
) -> dict[str, Any]:
    """Pods of one group of workers. KubeRay adds the command, and probes that call wget: the image
    has it."""
    mounted = mounts(owner, spec, gateway)
    container = ingestion_container(settings, mounted, resources)
    return pod_template(owner, container, mounted, labels, spec.ingestion.pod_template)


def _head(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    gateway: str | None,
    labels: dict[str, str],
) -> dict[str, Any]:
    """The pod of the head, where the run is driven."""
    mounted = mounts(owner, spec, gateway)
    container = {
        **ingestion_container(settings, mounted, ray_cluster.HEAD_RESOURCES),
        "env": [*serving_pod.environment(), *run_environment(_RUN_LABEL)],
        "ports": [*ray_cluster.HEAD_PORTS, PROGRESS],
    }
    added = ray_cluster.for_head(spec.ingestion.pod_template)
    return pod_template(owner, container, mounted, labels, added)


def _submitter(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    labels: dict[str, str],
    driver: list[str],
) -> dict[str, Any]:
    mounted = [places.empty("tmp", places.TMP)]
    container = {
        **ingestion_container(settings, mounted, _SUBMITTER_RESOURCES),
        "command": ["python", "-m", "lookalike_serving.ingest.on_ray.submit"],
        "args": ["--result", TERMINATION_LOG, "--", *driver],
        "terminationMessagePath": TERMINATION_LOG,
    }
    added = ray_cluster.for_head(spec.ingestion.pod_template)
    return pod_template(owner, container, mounted, labels, added, restarts=False)
