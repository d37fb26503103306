"""Measured search settings in the status and in the condition of the index."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.operator.plan.known import EDGE, collection, searching

from lookalike_crds.collection_report import CollectionReport
from lookalike_crds.image_collection import ImageCollectionStatus, SearchSettingsStatus
from lookalike_operator.plan.collection import plan_collection


def settings(recall: float) -> SearchSettingsStatus:
    return SearchSettingsStatus(
        recall=recall,
        recall_target=0.999,
        ef=200,
        oversampling=2,
        queries=600,
        measured_at="2026-03-01T03:05:00Z",
    )


def planned(told: SearchSettingsStatus | None, before: SearchSettingsStatus | None = None) -> Any:
    """With its claim, once that is bound."""
    status = ImageCollectionStatus(search_settings=before)
    snapshot = collection(
        EDGE,
        retrievers=(searching(),),
        status=status,
        report=CollectionReport(search_settings=told),
    )
    objects = plan_collection(snapshot).objects
    [claim] = [each for each in objects if each["kind"] == "PersistentVolumeClaim"]
    metadata = {**claim["metadata"], "uid": "claim"}
    bound = {**claim, "metadata": metadata, "status": {"phase": "Bound"}}
    return plan_collection(replace(snapshot, children=(bound,)))


def index_ready(plan: Any) -> tuple[str, str, str]:
    [found] = [each for each in plan.status["conditions"] if each["type"] == "IndexReady"]
    return found["status"], found["reason"], found["message"]


def test_the_recall_is_in_the_status_and_in_the_condition() -> None:
    plan = planned(settings(0.9994))
    assert plan.status["searchSettings"]["recall"] == 0.9994
    status, reason, message = index_ready(plan)
    assert (status, reason) == ("True", "ClaimBound")
    assert message.endswith(" is bound; recall 0.9994 at ef 200")


def test_a_recall_below_the_target_is_a_reason_with_its_remedy() -> None:
    status, reason, message = index_ready(planned(settings(0.98)))
    assert (status, reason) == ("True", "RecallBelowTarget")
    assert "recall 0.9800 at ef 200, below the target of 0.999: raise spec.vector.hnsw" in message


def test_what_was_reported_stays_while_no_pod_answers() -> None:
    assert planned(None, before=settings(0.9994)).status["searchSettings"]["ef"] == 200
    assert index_ready(planned(None))[2].endswith("is bound")
