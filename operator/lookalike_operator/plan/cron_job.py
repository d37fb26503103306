"""Scheduled ingestion with runtime Job: a CronJob for each source that has a schedule, over that
source alone. With runtime Ray see `scheduled_ray_job.py`."""

from __future__ import annotations

from lookalike_crds.image_collection import ImageCollectionSpec
from lookalike_crds.sources import SourceSpec
from lookalike_operator.plan.ingestion_job import job_spec
from lookalike_operator.plan.ingestion_pod import file_of
from lookalike_operator.plan.model import Manifest, Settings
from lookalike_operator.plan.names import RUN, Component, Owner, cron_job, scheduled_run

START_WITHIN_SECONDS = 3600
"""If the controllers were away, a missed run is made up for within this time; several missed runs
are made up for by one."""


def source_cron_job(
    owner: Owner,
    spec: ImageCollectionSpec,
    source: SourceSpec,
    settings: Settings,
    *,
    gateway: str | None,
) -> Manifest:
    """Runs `source` at its times (UTC), never twice at once, not while suspended."""
    run = scheduled_run(source.name)
    labels = {RUN: run}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": owner.metadata(
            cron_job(owner.name, source.name), Component.INGESTION, labels=labels
        ),
        "spec": {
            "schedule": source.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": START_WITHIN_SECONDS,
            "suspend": spec.suspend,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {
                "metadata": {"labels": {**owner.labels(Component.INGESTION), **labels}},
                "spec": job_spec(
                    owner, spec, settings, file=file_of(source.name), gateway=gateway, run=run
                ),
            },
        },
    }
