"""The pods that turn images into vectors, and the configuration that they read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lookalike_crds.config import CarryOver, CollectionConfig, IngestionConfig
from lookalike_crds.image_collection import Engine, ImageCollectionSpec
from lookalike_crds.progress import PROGRESS_PORT_VARIABLE, RUN_VARIABLE
from lookalike_crds.sources import SourceSpec
from lookalike_operator.plan import places, serving_pod
from lookalike_operator.plan.model import Meta, Settings
from lookalike_operator.plan.names import (
    Component,
    Owner,
    ingestion_config_map,
    internal_secret,
)
from lookalike_operator.plan.pod_template import (
    container_security,
    pod_security,
    with_pod_template,
)
from lookalike_operator.plan.serving_config import (
    index_config,
    records_on_server,
    service_url,
)

CONTAINER = "ingestion"
_PROGRESS = f"{places.DATA}/run/ingestion.json"
TERMINATION_LOG = "/dev/termination-log"
PROGRESS = {"name": "progress", "containerPort": places.PROGRESS_PORT}
_GRACE_SECONDS = 60
_JOB_UID = "metadata.labels['batch.kubernetes.io/controller-uid']"
"""What all pods of one Job have in common, and those of no other."""
_REQUESTS = {"cpu": "500m", "memory": "1Gi"}
"""Ray does not run in an ingestion pod."""


def ingestion_config(
    meta: Meta,
    spec: ImageCollectionSpec,
    sources: tuple[SourceSpec, ...],
    gateway: str | None,
    settings: Settings,
    index: str,
    carry: CarryOver | None = None,
) -> IngestionConfig:
    """One run over `sources`, into the index with that name.

    `gateway`: the Retriever that holds the index, or, with `carry`, reads stored images; only
    engine Edge and `carry` need one.
    """
    edge = spec.index.engine is Engine.EDGE
    through = gateway is not None and (edge or carry is not None)
    place = index_config(index, meta, spec, settings)
    return IngestionConfig(
        collection=CollectionConfig(
            name=meta.name,
            model=spec.model.alone,
            vector=spec.vector,
            index=place,
            books=None if edge else records_on_server(meta.namespace, place, settings),
            fields=spec.fields,
            duplicates=None if spec.duplicates is None else spec.duplicates.alone,
            copy_model=spec.made_by.copies,
            sources=tuple(source.name for source in spec.sources),
            gate=None if carry is None else spec.model.gate,
        ),
        sources=tuple(places.in_pod(meta.name, source) for source in sources),
        # Pods are the workers here; how they are made is not their business.
        ingestion=spec.ingestion.model_copy(
            update={"parallelism": None, "resources": None, "pod_template": None}
        ),
        data_dir=Path(places.DATA),
        gateway_url=(
            service_url(gateway, meta.namespace, settings) if gateway and through else None
        ),
        internal_token_file=Path(places.INTERNAL_TOKEN) if edge or through else None,
        carry=carry,
        buckets=places.buckets(spec),
        secrets_dir=Path(places.SOURCE_SECRETS) if any(s.kind.secrets for s in sources) else None,
        progress_file=Path(_PROGRESS),
    )


def file_of(source: str | None) -> str:
    """Name of the config in the ConfigMap: of all sources, or of one with a schedule."""
    return places.INGESTION_FILE if source is None else f"ingestion-{source}.json"


def ingestion_template(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    *,
    file: str,
    gateway: str | None,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """PodTemplateSpec of an ingestion Job whose pods are numbered from 0 to parallelism - 1."""
    mounted = mounts(owner, spec, gateway)
    resources = serving_pod.resources(spec.ingestion.resources, _REQUESTS)
    container = {
        **ingestion_container(settings, mounted, resources),
        "command": ["python", "-m", "lookalike_serving.ingest"],
        "args": [
            "--config",
            f"{places.CONFIG}/{file}",
            "--result",
            TERMINATION_LOG,
            "--partition",
            f"$(JOB_COMPLETION_INDEX)/{workers(spec)}",
        ],
        "env": [*serving_pod.environment(), *run_environment(_JOB_UID)],
        "ports": [PROGRESS],
        "terminationMessagePath": TERMINATION_LOG,
    }
    added = spec.ingestion.pod_template
    return pod_template(owner, container, mounted, labels, added, restarts=False)


def ingestion_container(
    settings: Settings, mounted: list[places.Mount], resources: dict[str, Any]
) -> dict[str, Any]:
    """The container of an ingestion pod, without a command."""
    return {
        "name": CONTAINER,
        "image": settings.serving_image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": serving_pod.environment(),
        "resources": resources,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount.volume_mount for mount in mounted],
    }


def run_environment(run: str) -> list[dict[str, Any]]:
    """Of the process that goes through a run; `run`: the field that names it."""
    return [
        {"name": PROGRESS_PORT_VARIABLE, "value": str(places.PROGRESS_PORT)},
        {"name": RUN_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": run}}},
    ]


def pod_template(
    owner: Owner,
    container: dict[str, Any],
    mounted: list[places.Mount],
    labels: Mapping[str, str],
    added: Mapping[str, Any] | None,
    *,
    restarts: bool = True,
) -> dict[str, Any]:
    """PodTemplateSpec of an ingestion pod, with what the user has `added` to it."""
    own_labels = {**owner.labels(Component.INGESTION), **labels}
    template = {
        "metadata": {"labels": own_labels},
        "spec": {
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": pod_security(),
            "containers": [container],
            "volumes": [mount.volume for mount in mounted],
            **({} if restarts else {"restartPolicy": "Never"}),
        },
    }
    return with_pod_template(template, added, own_labels)


def workers(spec: ImageCollectionSpec) -> int:
    """Pods that share one run."""
    return spec.ingestion.parallelism or 1


def mounts(owner: Owner, spec: ImageCollectionSpec, gateway: str | None) -> list[places.Mount]:
    """What an ingestion pod mounts."""
    found = [
        places.config_map("config", ingestion_config_map(owner.name)),
        places.empty("data", places.DATA),
        *places.weights([spec]),
        places.empty("tmp", places.TMP),
    ]
    if gateway is not None:
        found.append(places.secret("internal", places.INTERNAL, internal_secret(gateway)))
    return places.unique([*found, *places.qdrant(spec), *places.sources(owner.name, spec)])
