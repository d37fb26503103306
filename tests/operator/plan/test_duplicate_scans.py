"""Duplicate scans in the status and in events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.operator.plan.known import EDGE, collection, retriever, searching

from lookalike_crds.collection_report import CollectionReport
from lookalike_crds.image_collection import (
    DuplicateScanStatus,
    ImageCollectionStatus,
    SimilarityStatus,
)
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.duplicate_scans import AWAITED_SECONDS
from lookalike_operator.plan.model import CollectionSnapshot
from lookalike_operator.plan.serving_config import serving_config

NIGHTLY = {"duplicates": {"schedule": "0 3 * * *", "sensitivity": "Strict"}}


def scan(**changes: Any) -> DuplicateScanStatus:
    given = {
        "id": "a1",
        "state": "Completed",
        "time": "2026-03-01T03:05:00Z",
        "scanned": 1200,
        "groups": 4,
        "documents": 5,
        "bytes": 3_400_000,
        **changes,
    }
    return DuplicateScanStatus.model_validate(given)


def snapshot(told: DuplicateScanStatus | None, before: Any = None) -> CollectionSnapshot:
    status = ImageCollectionStatus(last_duplicate_scan=before)
    return collection(
        EDGE,
        NIGHTLY,
        retrievers=(searching(),),
        report=CollectionReport(last_duplicate_scan=told),
        status=status,
    )


def test_the_end_of_a_scan_is_in_the_status_and_an_event_once() -> None:
    plan = plan_collection(snapshot(scan()))
    assert plan.status["lastDuplicateScan"] == {
        "id": "a1",
        "state": "Completed",
        "time": "2026-03-01T03:05:00Z",
        "scanned": 1200,
        "groups": 4,
        "documents": 5,
        "bytes": 3_400_000,
    }
    [event] = [each for each in plan.events if each.reason == "DuplicateScanCompleted"]
    assert event.message == (
        "duplicate scan a1 of 1,200 documents: 4 groups with 5 duplicates of 3.4 MB; "
        "`lookalike duplicates` shows them"
    )
    again = plan_collection(snapshot(scan(), before=scan()))
    assert again.status["lastDuplicateScan"]["id"] == "a1"
    assert all(each.reason != "DuplicateScanCompleted" for each in again.events)


def test_from_which_score_pictures_are_similar_is_in_the_status() -> None:
    told = SimilarityStatus(
        target_fpr=0.001,
        similar_from=0.71,
        pairs=499_000,
        sampled=1000,
        documents=9000,
        measured_at="2026-03-01T03:05:00Z",
    )
    now = replace(snapshot(None), report=CollectionReport(similarity=told))
    plan = plan_collection(now)
    assert plan.status["similarity"]["similarFrom"] == 0.71
    before = ImageCollectionStatus(similarity=told)
    silent = replace(now, report=CollectionReport(), status=before)
    assert plan_collection(silent).status["similarity"]["sampled"] == 1000
    off = collection(EDGE, retrievers=(searching(),), status=before)
    assert "similarity" not in plan_collection(off).status


def test_what_was_told_stays_while_no_pod_answers() -> None:
    plan = plan_collection(snapshot(None, before=scan()))
    assert plan.status["lastDuplicateScan"]["groups"] == 4


def test_deletions_and_failures_are_told() -> None:
    deleted = plan_collection(snapshot(scan(deleted=2)))
    assert any("2 documents were deleted, as spec" in each.message for each in deleted.events)
    failed = plan_collection(snapshot(scan(state="Failed", message="the index is gone")))
    [event] = [each for each in failed.events if each.reason == "DuplicateScanFailed"]
    assert (event.type, event.message) == ("Warning", "duplicate scan a1: the index is gone")


def test_only_collections_with_duplicates_are_asked_about() -> None:
    assert plan_collection(snapshot(None)).requeue_after == AWAITED_SECONDS
    plain = collection(EDGE, retrievers=(searching(),))
    assert plan_collection(plain).requeue_after is None
    alone = replace(snapshot(None), retrievers=())
    assert plan_collection(alone).requeue_after is None


def test_a_suspended_collection_has_no_schedule() -> None:
    def schedule(**more: Any) -> str | None:
        from tests.operator.plan.known import facts

        known = retriever(collections=(facts(EDGE, NIGHTLY, more),))
        assert known.spec is not None
        config = serving_config(known.meta, known.spec, known.collections, known.settings)
        [made] = config.collections
        assert made.duplicates is not None
        return made.duplicates.schedule

    assert schedule() == "0 3 * * *"
    assert schedule(suspend=True) is None
