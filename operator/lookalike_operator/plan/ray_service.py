"""Runtime KubeRay: a RayService whose workers each hold one replica.

KubeRay replaces the whole cluster if the hash of `rayClusterConfig` changes (except for replicas
and their bounds). So nothing that a running server can apply without a restart may be in it:
replicas, search defaults and weights are only in `serveConfigV2`, which KubeRay submits to the
running cluster. Ray's autoscaler adds and removes workers for the replicas that Serve asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lookalike_crds.base import without_defaults
from lookalike_crds.config import ServingConfig, heavy_digest, heavy_of, light_of
from lookalike_crds.ray_environment import RAY_SERVE_ENVIRONMENT
from lookalike_crds.retriever import RetrieverSpec
from lookalike_operator.plan import places, ray_cluster, serving_pod
from lookalike_operator.plan.model import CollectionFacts, Manifest, Settings
from lookalike_operator.plan.names import (
    CONFIG_DIGEST,
    TEMPLATE_DIGEST,
    Component,
    Owner,
    ray_service,
)
from lookalike_operator.plan.pod_template import digest_of, merged, with_pod_template
from lookalike_operator.plan.ray_cluster import AUTHENTICATION

API = "ray.io/v1/RayService"
APPLICATION = "lookalike"
GROUP_NAME = "serving"

_MOST_WORKERS = 1000
"""The bound of spec.serving.replicas: KubeRay hands a changed one to no running cluster."""
_LEAVE_SECONDS = 10
_LEAVE = (
    "for pid in /proc/[0-9]*; do"
    ' [ "$(cat $pid/comm 2>/dev/null)" = haproxy ] && kill -USR1 "${pid#/proc/}";'
    f" done; sleep {_LEAVE_SECONDS}"
)
"""Before a pod ends, HAProxy accepts no new connection and closes each open one with its next
answer. Otherwise a client that keeps a connection would lose a request with the pod."""
_IDLE_SERVE: dict[str, Any] = {
    "min_replicas": 0,
    "initial_replicas": 0,
    "max_replicas": 1,
    "target_ongoing_requests": 1,
    "upscale_delay_s": 0,
    # Longer than it takes until the operator has seen the request and asks for replicas itself.
    "downscale_delay_s": 90,
}


def serving_ray_service(
    owner: Owner,
    spec: RetrieverSpec,
    collections: tuple[CollectionFacts, ...],
    config: ServingConfig,
    settings: Settings,
    *,
    replicas: int,
    idle: bool,
) -> Manifest:
    """The RayService. Pure and byte-stable: for KubeRay, a different byte is a different cluster.

    `idle`: no replica now; Ray Serve starts one at the next request.
    """
    cluster = merged(_cluster(owner, spec, collections, config, settings), spec.serving.ray_cluster)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": owner.metadata(
            ray_service(owner.name),
            Component.SERVING,
            annotations={TEMPLATE_DIGEST: digest_of(_without_replicas(cluster))},
        ),
        "spec": {
            # While there are no workers, the head's proxy holds requests.
            "excludeHeadPodFromServeSvc": False,
            "upgradeStrategy": {"type": "NewCluster"},
            "serveConfigV2": serve_config(spec, config, replicas=replicas, idle=idle),
            "rayClusterConfig": cluster,
        },
    }


def wants_token(spec: RetrieverSpec) -> bool:
    """Whether this Ray cluster is to answer only who has its token. Only `rayCluster` says no."""
    options = merged({"authOptions": AUTHENTICATION}, spec.serving.ray_cluster)["authOptions"]
    return isinstance(options, Mapping) and options.get("mode") == AUTHENTICATION["mode"]


def _without_replicas(cluster: dict[str, Any]) -> dict[str, Any]:
    """What KubeRay's own hash is about."""
    muted = ("replicas", "minReplicas", "maxReplicas", "scaleStrategy")
    groups = [
        {key: value for key, value in group.items() if key not in muted}
        for group in cluster.get("workerGroupSpecs") or ()
    ]
    return {**cluster, "workerGroupSpecs": groups}


def serve_config(spec: RetrieverSpec, config: ServingConfig, *, replicas: int, idle: bool) -> str:
    """`serveConfigV2`: the application, its heavy config as arguments, its light one in place.

    JSON is YAML, too, and leaves nothing to a YAML writer's taste.
    """
    deployment: dict[str, Any] = {
        "name": "Retriever",
        **({"autoscaling_config": _IDLE_SERVE} if idle else {"num_replicas": replicas}),
        "user_config": light_of(config).as_json(),
        "ray_actor_options": _actor(spec),
    }
    heavy = without_defaults(heavy_of(config))
    document = {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": places.PORT},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": "lookalike_serving.kuberay:build",
                "args": {"config": heavy, "metrics_port": places.METRICS_PORT},
                "deployments": [deployment],
            }
        ],
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _actor(spec: RetrieverSpec) -> dict[str, Any]:
    """What one replica takes of its worker: all of it."""
    options: dict[str, Any] = {"num_cpus": _cpus(spec)}
    if gpus := serving_pod.gpus(spec.serving.resources):
        options["num_gpus"] = gpus
    return options


def _cpus(spec: RetrieverSpec) -> int:
    """Whole CPUs of a worker."""
    return ray_cluster.cpus(serving_pod.resources(spec.serving.resources))


def _cluster(
    owner: Owner,
    spec: RetrieverSpec,
    collections: tuple[CollectionFacts, ...],
    config: ServingConfig,
    settings: Settings,
) -> dict[str, Any]:
    """`rayClusterConfig`, without what the user adds to it."""
    mounted = [
        mount
        for mount in serving_pod.mounts(owner, spec, collections)
        # The config comes with the application.
        if mount.name != "config"
    ]
    return {
        "rayVersion": settings.ray_version,
        "authOptions": dict(AUTHENTICATION),
        **ray_cluster.autoscaling(settings, [m.volume_mount for m in mounted if m.name == "tmp"]),
        "headGroupSpec": {
            # No replica lands on the head, or a worker without one would never be Ready.
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},
            "template": _template(owner, spec, config, settings, mounted, head=True),
        },
        "workerGroupSpecs": [
            {
                "groupName": GROUP_NAME,
                "minReplicas": 0,
                "maxReplicas": _MOST_WORKERS,
                "rayStartParams": {"num-cpus": str(_cpus(spec))},
                "template": _template(owner, spec, config, settings, mounted, head=False),
            }
        ],
    }


def _template(
    owner: Owner,
    spec: RetrieverSpec,
    config: ServingConfig,
    settings: Settings,
    mounted: list[places.Mount],
    *,
    head: bool,
) -> dict[str, Any]:
    """Pods of one group. KubeRay adds command, and probes that call wget: the image has it."""
    labels = owner.labels(Component.SERVING)
    if head:
        # No replica runs there: it needs no key, and must not hold a volume that one needs.
        mounted = [mount for mount in mounted if mount.name == "tmp"]
    container = serving_pod.container(spec, settings, mounted)
    told = {} if head else serving_pod.PROGRESS
    container["env"] = serving_pod.environment({**RAY_SERVE_ENVIRONMENT, **told})
    container["lifecycle"] = {"preStop": {"exec": {"command": ["sh", "-c", _LEAVE]}}}
    if head:
        container["resources"] = ray_cluster.HEAD_RESOURCES
        container["ports"] = [
            # KubeRay makes no Service without a port of this name at the head.
            {"name": "serve", "containerPort": places.PORT, "protocol": "TCP"},
            *ray_cluster.HEAD_PORTS,
        ]
    else:
        container["ports"].append(
            {"name": "metrics", "containerPort": places.METRICS_PORT, "protocol": "TCP"}
        )
    pod = serving_pod.pod_spec([container], mounted)
    if head:
        # Ray's autoscaler, beside the head, asks the API server for workers; nobody else does.
        pod["volumes"] = [*pod["volumes"], ray_cluster.autoscaler_identity()]
    template = {
        "metadata": {
            "labels": labels,
            "annotations": {
                CONFIG_DIGEST: heavy_digest(config),
                **({} if head else serving_pod.scrape_annotations(places.METRICS_PORT)),
            },
        },
        "spec": pod,
    }
    override = spec.serving.pod_template
    return with_pod_template(template, ray_cluster.for_head(override) if head else override, labels)
