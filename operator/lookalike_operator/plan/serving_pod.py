"""The pods that answer queries, as every runtime runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lookalike_crds.image_collection import GPU, ResourceList
from lookalike_crds.progress import PROGRESS_PORT_VARIABLE
from lookalike_crds.retriever import RetrieverSpec
from lookalike_operator.plan import claims, places
from lookalike_operator.plan.model import CollectionFacts, Settings
from lookalike_operator.plan.names import (
    Owner,
    api_keys_secret,
    data_claim,
    internal_secret,
    serving_config_map,
)
from lookalike_operator.plan.pod_template import container_security, pod_security

CONTAINER = "serving"
_REQUESTS = {"cpu": "500m", "memory": "1280Mi"}
"""`bench/memory.py` finds 1.20 GB with the demo model: Ray's and Serve's processes .57, the replica
with torch, model and index .63. A larger model adds its weights."""
PROGRESS = {PROGRESS_PORT_VARIABLE: str(places.PROGRESS_PORT)}
"""Where it tells of the weights that it fetches."""
_GRACE_SECONDS = 60
_START_SECONDS = 900
"""Enough for a model of some gigabytes to be downloaded and loaded."""


def mounts(
    owner: Owner, spec: RetrieverSpec, collections: tuple[CollectionFacts, ...]
) -> list[places.Mount]:
    """Everything that a serving pod mounts."""
    reference = spec.access.api_keys_secret_ref
    keys = reference.name if reference else api_keys_secret(owner.name)
    data = (
        places.claim("data", places.DATA, data_claim(owner.name))
        if claims.data_mode(spec, collections) is not None
        else places.empty("data", places.DATA)
    )
    found = [
        places.config_map("config", serving_config_map(owner.name)),
        places.secret("api-keys", places.API_KEYS, keys),
        places.secret("internal", places.INTERNAL, internal_secret(owner.name)),
        data,
        *places.weights(each.spec for each in collections),
        places.empty("tmp", places.TMP),
        *(places.index(each.meta.name) for each in claims.edge_collections(collections)),
    ]
    for each in collections:
        found += places.qdrant(each.spec)
        found += places.sources(each.meta.name, each.spec)
    return places.unique(found)


def environment(extra: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """What every pod of ours has in its environment."""
    values = {"HOME": places.TMP, "RAY_USAGE_STATS_ENABLED": "0", **(extra or {})}
    return [{"name": name, "value": value} for name, value in values.items()]


def container(
    spec: RetrieverSpec, settings: Settings, mounted: list[places.Mount]
) -> dict[str, Any]:
    """The container that holds model, gateway and index client; without command and probes."""
    return {
        "name": CONTAINER,
        "image": spec.serving.image or settings.serving_image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": environment(PROGRESS),
        "ports": [{"name": "http", "containerPort": places.PORT, "protocol": "TCP"}],
        "resources": resources(spec.serving.resources),
        "securityContext": container_security(),
        # So that the last line of the log, which says why, is in the pod's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount.volume_mount for mount in mounted],
    }


def probes() -> dict[str, Any]:
    """Ready: every collection answers a query. Alive: the event loop runs."""

    def get(path: str, period: int, failures: int, timeout: int) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": "http"},
            "periodSeconds": period,
            "failureThreshold": failures,
            "timeoutSeconds": timeout,
        }

    return {
        "startupProbe": get("/readyz", 2, _START_SECONDS // 2, 10),
        "readinessProbe": get("/readyz", 10, 3, 10),
        "livenessProbe": get("/healthz", 15, 6, 10),
    }


def pod_spec(containers: list[dict[str, Any]], mounted: list[places.Mount]) -> dict[str, Any]:
    return {
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        # Nothing in it talks to the API server.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "containers": containers,
        "volumes": [mount.volume for mount in mounted],
    }


def scrape_annotations(port: int) -> dict[str, str]:
    """For a Prometheus that finds pods by annotation (docs/autoscaling.md)."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": "/metrics",
    }


def resources(
    wanted: ResourceList | None, default: Mapping[str, str] = _REQUESTS
) -> dict[str, Any]:
    """Of a container: as the spec says, or the requests of `default`."""
    if wanted is None:
        return {"requests": dict(default)}
    parts = {"requests": dict(wanted.requests), "limits": dict(wanted.limits)}
    return {name: values for name, values in parts.items() if values}


def gpus(wanted: ResourceList | None) -> int:
    """GPUs of one replica."""
    if wanted is None:
        return 0
    return int(wanted.limits.get(GPU) or wanted.requests.get(GPU) or 0)
