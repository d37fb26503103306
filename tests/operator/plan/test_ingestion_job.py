"""The Job of an ingestion run."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.plan.known import PHOTOS, named
from tests.operator.plan.moments import on_server

from lookalike_crds.failures import RunExit
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import Manifest


def _job(*parts: dict[str, Any]) -> Manifest:
    return named(plan_collection(on_server(PHOTOS, *parts)), "Job")


def _parallel(pods: int) -> dict[str, Any]:
    return {"ingestion": {"parallelism": pods}}


@pytest.mark.parametrize("pods", [1, 4])
def test_every_share_of_the_documents_has_one_pod_at_a_time(pods: int) -> None:
    spec = _job(_parallel(pods))["spec"]
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", pods)
    assert spec["parallelism"] == pods
    arguments = spec["template"]["spec"]["containers"][0]["args"]
    assert arguments[-2:] == ["--partition", f"$(JOB_COMPLETION_INDEX)/{pods}"]


def test_the_same_run_has_the_same_name_and_other_pods_have_another() -> None:
    assert _job()["metadata"]["name"] == _job()["metadata"]["name"]
    assert _job()["metadata"]["name"] != _job(_parallel(2))["metadata"]["name"]


def test_a_failure_that_would_repeat_ends_the_job_and_others_are_tried_again() -> None:
    spec = _job()["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (fails,) = [r for r in spec["podFailurePolicy"]["rules"] if r["action"] == "FailJob"]
    assert fails["onExitCodes"]["containerName"] == container["name"]
    assert fails["onExitCodes"]["values"] == [RunExit.GIVE_UP]
    assert spec["backoffLimitPerIndex"] > 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "the policy requires it"


def test_an_evicted_pod_does_not_count_as_a_failure() -> None:
    first = _job()["spec"]["podFailurePolicy"]["rules"][0]
    assert first["action"] == "Ignore"
    assert first["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_pods_stay_until_the_operator_has_read_how_they_ended() -> None:
    assert "ttlSecondsAfterFinished" not in _job()["spec"]
