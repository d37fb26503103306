"""Ingestion as an Indexed Job: one completion for each partition of the documents.

One run is one Job. Its name is derived from what is ingested and how its pods are made, so a
repeated reconcile names the same Job, and a corrected spec names another one.
"""

from __future__ import annotations

from typing import Any

from lookalike_crds.failures import RunExit
from lookalike_crds.image_collection import ImageCollectionSpec
from lookalike_operator.plan.ingestion_pod import CONTAINER, file_of, ingestion_template, workers
from lookalike_operator.plan.model import Manifest, Settings
from lookalike_operator.plan.names import RUN, Component, Owner, ingestion_job
from lookalike_operator.plan.pod_template import digest_of

_RETRIES = 6
"""Of each partition, with the back-off of the Job controller: from 10 s to 6 min apart."""


def ingestion_job_manifest(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    *,
    run: str,
    gateway: str | None,
) -> Manifest:
    """The Job of one run over all sources."""
    body = job_spec(owner, spec, settings, file=file_of(None), gateway=gateway, run=run)
    attempt = digest_of([run, body], 8)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": owner.metadata(
            ingestion_job(owner.name, attempt), Component.INGESTION, labels={RUN: run}
        ),
        "spec": body,
    }


def job_spec(
    owner: Owner,
    spec: ImageCollectionSpec,
    settings: Settings,
    *,
    file: str,
    gateway: str | None,
    run: str,
) -> dict[str, Any]:
    """A JobSpec. Its pods are kept until the Job is deleted: they hold the results."""
    return {
        "completionMode": "Indexed",
        "completions": workers(spec),
        "parallelism": workers(spec),
        "backoffLimitPerIndex": _RETRIES,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": CONTAINER,
                        "operator": "In",
                        "values": [int(RunExit.GIVE_UP)],
                    },
                },
            ]
        },
        "template": ingestion_template(
            owner, spec, settings, file=file, gateway=gateway, labels={RUN: run}
        ),
    }
