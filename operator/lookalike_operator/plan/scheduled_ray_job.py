"""Scheduled ingestion with runtime Ray: a RayJob at each time of a source's schedule.

A CronJob makes Jobs alone, and a pod that makes RayJobs would need rights in the API. So the
operator, which has them, makes the RayJob when its time has come. The name follows from the source
and the time: however often that is planned, there is one. It follows the rules of a CronJob: never
two runs of a source at once, none while suspended, and a time that was missed is made up for within
an hour, unless the schedule was set after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lookalike_crds import cron
from lookalike_crds.image_collection import ImageCollectionSpec, IngestionRuntime
from lookalike_crds.sources import SourceSpec
from lookalike_operator.plan.conditions import parsed
from lookalike_operator.plan.cron_job import START_WITHIN_SECONDS
from lookalike_operator.plan.ingestion_pod import file_of
from lookalike_operator.plan.ingestion_ray_job import KIND, ray_job
from lookalike_operator.plan.model import CollectionSnapshot, Manifest, ObjectRef, ref_of
from lookalike_operator.plan.names import Owner, scheduled_run
from lookalike_operator.plan.pod_template import digest_of
from lookalike_operator.plan.runs import run_label, scheduled_jobs


@dataclass(frozen=True, slots=True)
class Scheduled:
    once: tuple[Manifest, ...] = ()
    """To be made now."""
    keep: tuple[ObjectRef, ...] = ()
    """The last one of each source, whose result stays to be read; earlier ones are deleted."""
    seconds: float | None = None
    """Until the next one may be due."""


def scheduled_ray_jobs(
    snapshot: CollectionSnapshot,
    spec: ImageCollectionSpec,
    owner: Owner,
    *,
    gateway: str | None,
) -> Scheduled:
    """Pure. Nothing unless the runtime is Ray."""
    if spec.ingestion.runtime is not IngestionRuntime.RAY:
        return Scheduled()
    once: list[Manifest] = []
    keep: list[ObjectRef] = []
    nexts: list[float] = []
    for source in spec.sources:
        if source.schedule is None:
            continue
        run = scheduled_run(source.name)
        live = [
            job
            for job in scheduled_jobs(snapshot, owner)
            if job["kind"] == KIND and run_label(job) == run
        ]
        at = _due(snapshot, source)
        due = None
        if at is not None and not spec.suspend and not (live and _is_running(live[-1])):
            due = ray_job(
                owner,
                spec,
                snapshot.settings,
                run=run,
                attempt=digest_of([run, at.isoformat()], 8),
                file=file_of(source.name),
                gateway=gateway,
            )
        names = [job["metadata"]["name"] for job in live]
        if due is not None and due["metadata"]["name"] not in names:
            once.append(due)
        elif live:
            keep.append(ref_of(live[-1]))
        following = cron.next_time(source.schedule, snapshot.now)
        if following is not None:
            nexts.append((following - snapshot.now).total_seconds())
    return Scheduled(tuple(once), tuple(keep), min(nexts, default=None))


def _due(snapshot: CollectionSnapshot, source: SourceSpec) -> datetime | None:
    """The last time of the schedule, unless it is long over, was before the schedule was set, or a
    run has ended since."""
    assert source.schedule is not None
    now, created = snapshot.now, snapshot.meta.created
    at = cron.last_time(source.schedule, now)
    if at is None or now - at > timedelta(seconds=START_WITHIN_SECONDS):
        return None
    if created is not None and at <= created:
        return None
    since = snapshot.scheduled_since.get(source.name)
    if since is not None and at <= since:
        return None
    before = next((each for each in snapshot.status.sources if each.name == source.name), None)
    ended = None if before is None else parsed(before.last_run)
    return None if ended is not None and ended >= at else at


def _is_running(job: Manifest) -> bool:
    return not job["status"]["conditions"]
