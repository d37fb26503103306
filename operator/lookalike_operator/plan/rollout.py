"""How far the serving pods are from the wanted state, read from live objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_operator.plan.causes import (
    Cause,
    deployment_cause,
    is_ready,
    never_ready,
    ray_cause,
    worst,
)
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import TEMPLATE_DIGEST
from lookalike_operator.plan.ray_service import APPLICATION


@dataclass(frozen=True, slots=True)
class Rollout:
    """The serving pods as they are."""

    replicas: int
    """Those that exist, old and new."""
    ready: int
    available: bool
    """At least one answers."""
    complete: bool
    """All that are wanted run as wanted, and no others."""
    message: str
    cause: Cause | None = None
    """Why one that is wanted does not run."""


NOTHING = Rollout(0, 0, False, False, "there are no serving pods yet")


def standalone(live: Manifest | None, wanted: Manifest | None, pods: Sequence[Manifest]) -> Rollout:
    """Of a Deployment. `wanted` None: nothing is known to be wanted; it is judged by itself."""
    if live is None:
        return NOTHING
    status = live.get("status") or {}
    asked = int((live.get("spec") or {}).get("replicas", 1))
    total, ready = int(status.get("replicas") or 0), int(status.get("readyReplicas") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    generation = live["metadata"].get("generation")
    seen = generation is None or int(status.get("observedGeneration") or 0) >= int(generation)
    current = seen and (wanted is None or _same_pods(live, wanted))
    complete = current and asked == total == ready == updated
    cause = None if complete else deployment_cause(live) or worst(pods)
    if not complete and current and (cause is None or not cause.stuck):
        cause = never_ready(live) or cause
    if asked and not total:
        # However far the Deployment is with its first pod: to tell of each step helps nobody.
        message = NOTHING.message
    elif not current:
        message = "the new pods are about to be created"
    elif updated < total or updated < asked:
        message = f"{updated} of {asked} replicas are new, {ready} are ready"
    else:
        message = f"{ready} of {asked} replicas are ready"
    available = int(status.get("availableReplicas") or 0) > 0
    return Rollout(total, ready, available, complete, message, cause)


def _same_pods(live: Manifest, wanted: Manifest) -> bool:
    return (
        digest_of_pods(live) == digest_of_pods(wanted)
        and live["spec"].get("replicas") == wanted["spec"]["replicas"]
    )


def digest_of_pods(manifest: Manifest) -> str | None:
    return (manifest["metadata"].get("annotations") or {}).get(TEMPLATE_DIGEST)


def is_ray_pod(pod: Manifest) -> bool:
    return "ray.io/node-type" in (pod["metadata"].get("labels") or {})


def active_cluster(live: Manifest | None) -> str | None:
    """The RayCluster that answers now, else the one that is to."""
    status = (live or {}).get("status") or {}
    for part in ("activeServiceStatus", "pendingServiceStatus"):
        if name := (status.get(part) or {}).get("rayClusterName"):
            return str(name)
    return None


def kuberay(
    live: Manifest | None,
    wanted: Manifest | None,
    pods: Sequence[Manifest],
    *,
    desired: int,
    was_available: bool,
) -> Rollout:
    """Of a RayService. Its own Ready says only that a proxy listens: the application counts."""
    if live is None:
        return NOTHING
    status = live.get("status") or {}
    cluster = active_cluster(live)
    workers = [pod for pod in pods if _is_worker(pod) and _of_cluster(pod, cluster)]
    ready = sum(is_ready(pod) for pod in workers)
    application = ((status.get("activeServiceStatus") or {}).get("applicationStatuses") or {}).get(
        APPLICATION
    ) or {}
    state = application.get("status")
    listens = any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in status.get("conditions") or ()
    )
    # An application that is updated in place keeps answering in the meantime.
    available = listens and (state == "RUNNING" or (state == "DEPLOYING" and was_available))
    generation = live["metadata"].get("generation")
    seen = generation is None or int(status.get("observedGeneration") or 0) >= int(generation)
    upgrading = bool((status.get("pendingServiceStatus") or {}).get("rayClusterName"))
    current = seen and (
        wanted is None
        or (
            digest_of_pods(live) == digest_of_pods(wanted)
            and live["spec"].get("serveConfigV2") == wanted["spec"]["serveConfigV2"]
        )
    )
    healthy = all(
        d.get("status") == "HEALTHY"
        for d in (application.get("serveDeploymentStatuses") or {}).values()
    )
    complete = current and available and state == "RUNNING" and healthy and not upgrading
    complete = complete and ready >= desired
    cause = None if complete else ray_cause(live) or worst(pods)
    if upgrading and available:
        message = "a new Ray cluster starts beside the old one, which answers in the meantime"
    elif not current:
        message = "KubeRay is about to apply the change"
    else:
        message = f"application {state or 'not started'}, {ready} of {desired} workers are ready"
    return Rollout(len(workers), ready, available, complete, message, cause)


def _is_worker(pod: Manifest) -> bool:
    return (pod["metadata"].get("labels") or {}).get("ray.io/node-type") == "worker"


def _of_cluster(pod: Manifest, cluster: str | None) -> bool:
    return cluster is None or (pod["metadata"].get("labels") or {}).get("ray.io/cluster") == cluster
