"""The RayJobs of sources with a schedule, with runtime Ray."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.operator.plan.known import ALL_APIS, ended, named, pod, result
from tests.operator.plan.moments import SCHEDULED, after, on_server

from lookalike_crds.image_collection import SourceStatus
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import CollectionSnapshot, Manifest, ref_of
from lookalike_operator.plan.names import RAY_JOB, RUN, scheduled_run

THREE = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
RUN_OF_PRODUCTS = scheduled_run("products")
CORRECTED = {"ingestion": {"runtime": "Ray", "parallelism": 7}}


def at(now: datetime, *parts: dict[str, Any], **changes: Any) -> CollectionSnapshot:
    """A collection whose first run has ended the day before."""
    snapshot = on_server(SCHEDULED, {"ingestion": {"runtime": "Ray"}}, *parts, apis=ALL_APIS)
    meta = replace(snapshot.meta, created=THREE - timedelta(days=3))
    last = SourceStatus(name="products", last_run="2026-03-01T12:00:00Z")
    status = snapshot.status.model_copy(update={"sources": (last,)})
    return replace(snapshot, meta=meta, now=now, status=status, **changes)


def scheduled(snapshot: CollectionSnapshot) -> list[Manifest]:
    jobs = plan_collection(snapshot).once
    return [job for job in jobs if job["metadata"]["labels"][RUN] == RUN_OF_PRODUCTS]


def live(snapshot: CollectionSnapshot, **status: Any) -> Manifest:
    """The scheduled RayJob that a snapshot asks for."""
    (job,) = scheduled(snapshot)
    meta = {**job["metadata"], "uid": "uid-of-it", "creationTimestamp": "2026-03-02T03:00:01Z"}
    return {**job, "metadata": meta, "status": status}


def having(snapshot: CollectionSnapshot, *jobs: Manifest) -> CollectionSnapshot:
    return replace(snapshot, children=(*snapshot.children, *jobs))


def test_at_its_time_a_ray_job_reads_its_source_alone_and_there_is_no_cron_job() -> None:
    plan = plan_collection(at(THREE))
    assert "CronJob" not in [each["kind"] for each in plan.objects]
    (job,) = scheduled(at(THREE))
    assert "/etc/lookalike/ingestion-products.json" in job["spec"]["entrypoint"]
    assert set(named(plan, "ConfigMap")["data"]) == {"ingestion.json", "ingestion-products.json"}
    labels = job["spec"]["submitterPodTemplate"]["metadata"]["labels"]
    assert (labels[RUN], labels[RAY_JOB]) == (RUN_OF_PRODUCTS, job["metadata"]["name"])


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (THREE - timedelta(seconds=1), False),
        (THREE, True),
        (THREE + timedelta(minutes=59), True),
        (THREE + timedelta(minutes=61), False),
    ],
)
def test_a_time_that_was_missed_is_made_up_for_within_an_hour(now: datetime, due: bool) -> None:
    assert bool(scheduled(at(now))) is due


def test_the_collection_is_looked_at_again_when_the_next_time_has_come() -> None:
    seconds = plan_collection(at(THREE - timedelta(seconds=40))).requeue_after
    assert seconds is not None
    assert seconds <= 40


def test_one_time_has_one_ray_job_whatever_is_corrected_meanwhile() -> None:
    made = live(at(THREE))
    running = having(at(THREE + timedelta(minutes=5), CORRECTED), made)
    plan = plan_collection(running)
    assert scheduled(running) == []
    assert ref_of(made) in plan.keep
    assert plan_collection(at(THREE)) == plan_collection(at(THREE))


def test_a_run_that_is_due_while_another_is_in_progress_is_left_out() -> None:
    made = live(at(THREE))
    next_day = having(at(THREE + timedelta(days=1)), made)
    assert scheduled(next_day) == []
    over = {**made, "status": {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED"}}
    next_day = having(at(THREE + timedelta(days=1)), over)
    assert [job["metadata"]["name"] for job in scheduled(next_day)] != [over["metadata"]["name"]]
    assert ref_of(over) not in plan_collection(next_day).keep, "the earlier one goes"


def test_no_run_of_a_suspended_collection_or_of_times_before_it_or_after_a_run_is_made() -> None:
    assert scheduled(at(THREE, {"suspend": True})) == []
    young = at(THREE + timedelta(minutes=30))
    young = replace(young, meta=replace(young.meta, created=THREE + timedelta(minutes=1)))
    assert scheduled(young) == []
    done = at(THREE + timedelta(minutes=30))
    ran = SourceStatus(name="products", last_run="2026-03-02T03:10:00Z")
    status = done.status.model_copy(update={"sources": (ran,)})
    assert scheduled(replace(done, status=status)) == []


def test_a_schedule_begins_with_its_next_time_after_it_was_set() -> None:
    now = THREE + timedelta(minutes=20)
    assert scheduled(at(now, scheduled_since={"products": THREE + timedelta(minutes=19)})) == []
    assert scheduled(at(now, scheduled_since={"products": THREE - timedelta(minutes=1)}))
    assert scheduled(at(now, scheduled_since={"other": now}))


def test_what_it_counted_is_recorded_of_its_source() -> None:
    over = live(
        at(THREE),
        jobDeploymentStatus="Complete",
        jobStatus="SUCCEEDED",
        endTime="2026-03-02T03:20:00Z",
    )
    counted = result(listed=5, new=5)
    submitter = pod("submitter", status=ended(counted), labels=over["metadata"]["labels"])
    snapshot = replace(having(at(THREE + timedelta(minutes=30)), over), pods=(submitter,))
    snapshot = after(snapshot, plan_collection(snapshot))
    (source,) = snapshot.status.sources
    assert (source.last_run, source.listed) == ("2026-03-02T03:20:00Z", 5)
