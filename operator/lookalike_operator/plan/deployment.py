"""Runtime Standalone: a Deployment whose pods each run Ray Serve."""

from __future__ import annotations

from typing import Any

from lookalike_crds.config import ServingConfig, heavy_digest
from lookalike_crds.retriever import RetrieverSpec
from lookalike_operator.plan import places, serving_pod
from lookalike_operator.plan.model import CollectionFacts, Manifest, Settings
from lookalike_operator.plan.names import (
    CONFIG_DIGEST,
    TEMPLATE_DIGEST,
    Component,
    Owner,
)
from lookalike_operator.plan.pod_template import digest_of, with_pod_template


def serving_deployment(
    owner: Owner,
    spec: RetrieverSpec,
    collections: tuple[CollectionFacts, ...],
    config: ServingConfig,
    settings: Settings,
    *,
    replicas: int,
    one_at_a_time: bool,
) -> Manifest:
    """The Deployment that runs one Ray Serve node per pod.

    Pure and byte-stable: equal inputs give equal bytes, and what a running server can apply without
    a restart (the light part of `config`) is not among its inputs. So neither restarts a pod.

    `one_at_a_time`: old pods end before new ones start, because only one of them can hold a
    resource at a time, or because the spec asks for it.
    """
    labels = owner.labels(Component.SERVING)
    template = with_pod_template(
        _template(owner, spec, collections, config, settings), spec.serving.pod_template, labels
    )
    digest = digest_of(template)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": owner.metadata(
            owner.name, Component.SERVING, annotations={TEMPLATE_DIGEST: digest}
        ),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": 1200,
            "selector": {"matchLabels": owner.selector(Component.SERVING)},
            "strategy": _strategy(recreate=one_at_a_time),
            "template": template,
        },
    }


def _template(
    owner: Owner,
    spec: RetrieverSpec,
    collections: tuple[CollectionFacts, ...],
    config: ServingConfig,
    settings: Settings,
) -> dict[str, Any]:
    mounted = serving_pod.mounts(owner, spec, collections)
    container = serving_pod.container(spec, settings, mounted)
    container["command"] = ["python", "-m", "lookalike_serving.local"]
    container["args"] = ["--config", f"{places.CONFIG}/{places.SERVING_FILE}"]
    container |= serving_pod.probes()
    return {
        "metadata": {
            "labels": owner.labels(Component.SERVING),
            "annotations": {
                CONFIG_DIGEST: heavy_digest(config),
                **serving_pod.scrape_annotations(places.PORT),
            },
        },
        "spec": serving_pod.pod_spec([container], mounted),
    }


def _strategy(*, recreate: bool) -> dict[str, Any]:
    if recreate:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
