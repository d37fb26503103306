"""Ingestion runs: when one starts, how it ends, when there is another."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.operator.plan.known import (
    NOW,
    PHOTOS,
    condition,
    ended,
    finished,
    pod,
    result,
    told,
)
from tests.operator.plan.moments import SCHEDULED, after, done, ingested, on_server, status_of

from lookalike_crds.failures import FAILURES, FailureKind, Part
from lookalike_crds.progress import ByCause, RunResult, RunState
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import IndexFacts, Manifest, ref_of
from lookalike_operator.plan.names import RUN_NOW

# -- runs ------------------------------------------------------------------------------------------


def test_a_new_collection_on_a_server_is_ingested_at_once() -> None:
    plan = plan_collection(on_server())
    assert [job["kind"] for job in plan.once] == ["Job"]
    assert told(plan, "Ingested") == ("False", "Ingesting")
    assert plan.status["run"]["state"] == "Running"


def test_the_result_of_a_run_is_recorded_before_its_job_goes() -> None:
    snapshot = on_server()
    snapshot = done(after(snapshot, plan_collection(snapshot)), result(new=7, unchanged=3))
    plan = plan_collection(snapshot)
    assert told(plan, "Ready") == ("True", "Ready")
    assert plan.status["run"]["state"] == "Completed"
    source = plan.status["sources"][0]
    assert (source["listed"], source["ingested"], source["failed"]) == (10, 10, 0)
    without_job = replace(snapshot, status=status_of(plan), children=(), pods=())
    again = plan_collection(without_job)
    assert again.once == ()
    assert again.status == plan.status


@pytest.mark.parametrize("edit", [{"suspend": True}, {"parallelism": 0}], ids=str)
def test_a_job_that_somebody_suspends_is_left_so_and_told(edit: dict[str, Any]) -> None:
    snapshot = on_server()
    snapshot = after(snapshot, plan_collection(snapshot))
    (job,) = (c for c in snapshot.children if c["kind"] == "Job")
    held = {**job, "spec": {**job["spec"], **edit}}
    plan = plan_collection(replace(snapshot, children=(held,)))
    assert told(plan, "Ingested") == ("False", "JobSuspended")
    assert ref_of(held) in plan.keep
    assert told(plan, "Stalled")[0] == "False"


def test_counts_of_partitions_are_added_up_and_a_retried_one_counts_once() -> None:
    snapshot = on_server(PHOTOS, {"ingestion": {"parallelism": 2}})
    snapshot = done(after(snapshot, plan_collection(snapshot)))
    job = next(c for c in snapshot.children if c["kind"] == "Job")

    def partition(name: str, index: int, text: str, exit_code: int = 0) -> Manifest:
        key = {"batch.kubernetes.io/job-completion-index": str(index)}
        return pod(name, owner=job, status=ended(text, exit_code), annotations=key)

    pods = (
        partition("a", 0, result(RunState.FAILED, "no network", listed=2, new=1), 1),
        partition("b", 0, result(listed=6, new=6)),
        partition("c", 1, result(listed=4, new=4)),
        pod("stranger", status=ended(result(listed=99))),
    )
    plan = plan_collection(replace(snapshot, pods=pods))
    assert plan.status["sources"][0]["listed"] == 10
    assert plan.status["run"]["state"] == "Completed"


def test_images_that_failed_are_told_without_failing_the_run() -> None:
    snapshot = on_server()
    text = result(RunState.COMPLETED_WITH_ERRORS, "2 images could not be ingested", new=1, failed=2)
    plan = plan_collection(done(after(snapshot, plan_collection(snapshot)), text))
    assert told(plan, "Ready") == ("True", "Ready")
    assert told(plan, "Degraded") == ("True", "ImagesFailed")
    assert plan.status["failed"] == 2


def test_what_failed_is_counted_by_cause_over_all_pods() -> None:
    snapshot = on_server(PHOTOS, {"ingestion": {"parallelism": 2}})
    snapshot = done(after(snapshot, plan_collection(snapshot)))
    job = next(c for c in snapshot.children if c["kind"] == "Job")

    def partition(index: int, **failed: int) -> Manifest:
        key = {"batch.kubernetes.io/job-completion-index": str(index)}
        by = {code.replace("_", "-"): count for code, count in failed.items()}
        made = RunResult.model_validate_json(result(new=1)).model_copy(update={"failed_by": by})
        status = ended(made.to_json().decode())
        return pod(f"p{index}", owner=job, status=status, annotations=key)

    pods = (partition(0, image_empty=2), partition(1, image_empty=1, image_corrupt=4))
    plan = plan_collection(replace(snapshot, pods=pods))
    assert plan.status["run"]["failures"] == [
        {"code": "image-corrupt", "count": 4},
        {"code": "image-empty", "count": 3},
    ]


def test_what_decoding_left_out_is_told_and_nothing_is_amiss() -> None:
    snapshot = on_server(PHOTOS, {"ingestion": {"parallelism": 2}})
    snapshot = done(after(snapshot, plan_collection(snapshot)))
    job = next(c for c in snapshot.children if c["kind"] == "Job")

    def partition(index: int, images: int) -> Manifest:
        key = {"batch.kubernetes.io/job-completion-index": str(index)}
        cause = "animated: the first frame is used"
        warnings = [ByCause(cause=cause, count=images, source="products", example=f"{index}.gif")]
        made = RunResult.model_validate_json(result()).model_copy(update={"warnings": warnings})
        status = ended(made.to_json().decode())
        return pod(f"p{index}", owner=job, status=status, annotations=key)

    plan = plan_collection(replace(snapshot, pods=(partition(0, 3), partition(1, 4))))
    assert plan.status["run"].get("failures", []) == []
    line = "7 images: animated: the first frame is used (such as 0.gif)"
    assert plan.status["run"]["message"] == line
    assert condition(plan, "Ingested")["message"].endswith(f"are indexed; {line}")
    assert told(plan, "Degraded") == ("False", "AsExpected")


def test_a_run_in_which_every_image_failed_has_failed() -> None:
    snapshot = on_server()
    text = result(RunState.COMPLETED_WITH_ERRORS, "2 images could not be ingested", new=0, failed=2)
    plan = plan_collection(done(after(snapshot, plan_collection(snapshot)), text))
    assert plan.status["run"]["state"] == "Failed"
    assert "none of 2 images could be ingested" in plan.status["run"]["message"]
    assert told(plan, "Stalled") == ("True", "NothingIngested")
    assert told(plan, "ModelReady") == ("Unknown", "NotTried")


def test_a_failed_run_says_why_and_waits_for_a_person() -> None:
    snapshot = on_server()
    message = "model weights not found: laion2b_s34b_b79k"
    failure = result(RunState.FAILED, message, reason="WeightsNotFound")
    snapshot = done(after(snapshot, plan_collection(snapshot)), failure, "Failed")
    plan = plan_collection(snapshot)
    assert plan.status["run"]["reason"] == "WeightsNotFound"
    assert told(plan, "Stalled") == ("True", "WeightsNotFound")
    assert told(plan, "ModelReady") == ("False", "WeightsNotFound")
    assert "model weights not found: laion2b_s34b_b79k" in condition(plan, "Ready")["message"]
    assert RUN_NOW in condition(plan, "Stalled")["message"]
    later = replace(snapshot, status=status_of(plan))
    assert plan_collection(later).once == ()
    assert plan_collection(replace(later, children=(), pods=())).once == ()


@pytest.mark.parametrize("row", [r for r in FAILURES if r.reason is not None], ids=str)
def test_the_reason_of_a_failed_run_is_that_of_its_conditions(row: FailureKind) -> None:
    snapshot = on_server()
    failure = result(RunState.FAILED, "whatever it says", reason=row.reason)
    plan = plan_collection(done(after(snapshot, plan_collection(snapshot)), failure, "Failed"))
    assert plan.status["run"]["reason"] == row.reason
    for type in ("Ready", "Ingested"):
        assert told(plan, type) == ("False", row.reason)
    assert told(plan, "Stalled") == ("True", row.reason)
    model = ("False", row.reason) if row.part is Part.MODEL else ("Unknown", "NotTried")
    assert told(plan, "ModelReady") == model


@pytest.mark.parametrize(
    "left",
    [
        result(RunState.FAILED, "the last: models/shoe-3.jpg: cannot be read", reason=None),
        result(RunState.FAILED, "the model's weights", reason="ReasonOfALaterVersion"),
        "Traceback …\nRuntimeError: model weights not found",
    ],
    ids=["an image's path", "a later version", "no result"],
)
def test_no_reason_is_guessed_from_words(left: str) -> None:
    snapshot = on_server()
    plan = plan_collection(done(after(snapshot, plan_collection(snapshot)), left, "Failed"))
    assert told(plan, "ModelReady") == ("Unknown", "NotTried")
    assert told(plan, "Ingested") == ("False", "IngestionFailed")
    assert told(plan, "Stalled") == ("True", "IngestionFailed")


def test_what_ended_a_run_is_told_and_not_that_its_other_pods_were_stopped_for_it() -> None:
    snapshot = on_server(PHOTOS, {"ingestion": {"parallelism": 2}})
    snapshot = done(after(snapshot, plan_collection(snapshot)), type="Failed")
    job = next(c for c in snapshot.children if c["kind"] == "Job")

    def partition(index: int, message: str, reason: str, finished_at: datetime) -> Manifest:
        made = RunResult(
            state=RunState.FAILED, reason=reason, message=message, finished_at=finished_at
        )
        key = {"batch.kubernetes.io/job-completion-index": str(index)}
        status = ended(made.to_json().decode(), 2)
        return pod(f"p{index}", owner=job, status=status, annotations=key)

    pods = (
        partition(0, "3 images failed", "TooManyFailures", NOW),
        partition(1, "stopped before its end", "Stopped", NOW + timedelta(seconds=5)),
    )
    plan = plan_collection(replace(snapshot, pods=pods))
    assert told(plan, "Ingested") == ("False", "TooManyFailures")
    assert plan.status["run"]["message"] == "3 images failed"


def test_a_pod_that_the_kernel_ended_says_so_itself() -> None:
    snapshot = on_server()
    snapshot = done(after(snapshot, plan_collection(snapshot)), "", "Failed")
    (killed,) = snapshot.pods
    (container,) = killed["status"]["containerStatuses"]
    container["state"]["terminated"] |= {"exitCode": 137, "reason": "OOMKilled"}
    plan = plan_collection(snapshot)
    assert told(plan, "Ingested") == ("False", "OOMKilled")


def test_a_failed_run_is_tried_again_once_its_pods_would_be_others() -> None:
    snapshot = on_server()
    snapshot = done(after(snapshot, plan_collection(snapshot)), result(RunState.FAILED), "Failed")
    failed = replace(snapshot, status=status_of(plan_collection(snapshot)))
    mended = on_server(PHOTOS, {"ingestion": {"resources": {"limits": {"memory": "8Gi"}}}})
    plan = plan_collection(replace(failed, spec=mended.spec))
    assert len(plan.once) == 1
    assert plan.status["run"]["state"] == "Running"


def test_pods_of_a_completed_run_may_change_without_another_run() -> None:
    full = ingested(on_server())
    other = on_server(PHOTOS, {"ingestion": {"resources": {"limits": {"memory": "8Gi"}}}})
    plan = plan_collection(replace(full, spec=other.spec))
    assert plan.once == ()
    assert plan.keep == tuple(ref_of(c) for c in full.children if c["kind"] == "Job")


def test_other_sources_are_another_run_and_a_schedule_is_not() -> None:
    full = ingested(on_server())
    more = {"sources": [*PHOTOS["sources"], {"name": "b", "urls": {"manifest": "https://a/b"}}]}
    assert len(plan_collection(replace(full, spec=on_server(more).spec)).once) == 1
    path = {"path": "images", "claimName": "photos"}
    timed = {"sources": [{"name": "products", "volume": path, "schedule": "0 3 * * *"}]}
    assert plan_collection(replace(full, spec=on_server(timed).spec)).once == ()


def test_another_type_of_a_field_is_another_run_where_sources_bring_metadata() -> None:
    path = {"path": "images", "claimName": "photos"}
    for metadata, runs in (({"file": "rows.csv"}, 1), ({}, 0)):
        sources = {"sources": [{"name": "products", "volume": path, "metadata": metadata}]}
        full = ingested(on_server(sources | {"fields": [{"name": "price", "type": "Keyword"}]}))
        other = on_server(sources | {"fields": [{"name": "price", "type": "Float"}]})
        assert len(plan_collection(replace(full, spec=other.spec)).once) == runs


def test_each_new_value_of_run_now_is_one_run() -> None:
    full = ingested(on_server())
    again = replace(full, meta=replace(full.meta, annotations={RUN_NOW: "monday"}))
    plan = plan_collection(again)
    assert len(plan.once) == 1
    again_full = ingested(replace(again, children=(), pods=()))
    assert plan_collection(again_full).once == ()


def test_a_deleted_job_that_had_not_ended_is_made_again() -> None:
    snapshot = on_server()
    first = plan_collection(snapshot)
    gone = replace(snapshot, status=status_of(first))
    assert plan_collection(gone).once == first.once


def test_an_index_that_is_gone_is_filled_again_and_once() -> None:
    full = ingested(on_server())
    assert full.index is not None
    lost = replace(
        full,
        now=NOW + timedelta(hours=1),
        index=replace(full.index, exists=False, points=None, alias_target=None),
    )
    plan = plan_collection(lost)
    assert len(plan.once) == 1
    assert plan.once[0]["metadata"]["name"] != full.children[0]["metadata"]["name"]
    assert "IndexLost" in [event.reason for event in plan.events]
    # While it is being filled it may not be there yet, and that is no second loss.
    running = after(lost, plan)
    assert plan_collection(running).once == ()
    assert plan_collection(running).status["run"] == plan.status["run"]
    refilled = replace(done(running), index=full.index)
    assert plan_collection(refilled).once == ()


def test_an_index_looked_for_in_the_minute_of_its_run_is_not_taken_for_lost() -> None:
    full = ingested(on_server())
    assert full.index is not None
    soon = NOW - timedelta(minutes=59, seconds=30)  # the Job ended at 11:00
    early = replace(full, now=soon, index=replace(full.index, exists=False))
    assert plan_collection(early).once == ()


def test_a_server_that_does_not_answer_is_waited_for() -> None:
    snapshot = on_server()
    error = "http://qdrant:6333 does not answer: connection refused"
    plan = plan_collection(replace(snapshot, index=IndexFacts("x", error=error)))
    assert plan.once == ()
    assert told(plan, "Ready") == ("False", "QdrantUnavailable")
    assert condition(plan, "Ready")["message"] == error
    assert plan.requeue_after is not None


def test_suspended_nothing_starts_and_what_runs_goes_on() -> None:
    snapshot = on_server(PHOTOS, {"suspend": True})
    plan = plan_collection(snapshot)
    assert plan.once == ()
    assert told(plan, "Ingested") == ("False", "Suspended")
    running = after(on_server(), plan_collection(on_server()))
    plan = plan_collection(replace(running, spec=snapshot.spec))
    assert [ref.kind for ref in plan.keep] == ["Job"]


def test_a_pod_that_finds_no_node_tells_so() -> None:
    snapshot = on_server()
    plan = plan_collection(snapshot)
    waiting = {
        "phase": "Pending",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "message": "0/2 nodes are available: 2 Insufficient nvidia.com/gpu.",
            }
        ],
    }
    plan = plan_collection(after(snapshot, plan, pod("p", status=waiting)))
    assert "Insufficient nvidia.com/gpu: 0 of 2" in condition(plan, "Ingested")["message"]


# -- schedules -------------------------------------------------------------------------------------


def test_results_of_scheduled_runs_are_recorded_and_their_failure_is_told() -> None:
    full = ingested(on_server(SCHEDULED))
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": "catalogue-products-1",
            "namespace": "shop",
            "uid": "uid-of-scheduled",
            "creationTimestamp": "2026-03-01T11:30:00Z",
            "ownerReferences": [{"kind": "CronJob", "uid": "cron", "controller": True}],
        },
    }
    at = {"lastTransitionTime": "2026-03-01T11:31:00Z"}
    good = replace(
        full,
        children=(*full.children, finished(job, **at)),
        pods=(pod("s", owner=job, status=ended(result(listed=12, new=2, unchanged=10))),),
    )
    plan = plan_collection(good)
    source = plan.status["sources"][0]
    assert (source["listed"], source["lastRun"]) == (12, "2026-03-01T11:31:00Z")
    assert ref_of(job) not in plan.keep  # the CronJob's, not ours to delete
    bad = replace(
        good,
        children=(*full.children, finished(job, "Failed", **at)),
        pods=(pod("s", owner=job, status=ended("index unreachable", 1)),),
    )
    plan = plan_collection(bad)
    assert told(plan, "Degraded") == ("True", "ScheduledRunFailed")
    assert "index unreachable" in condition(plan, "Degraded")["message"]
    assert told(plan, "Ready") == ("True", "Ready")
