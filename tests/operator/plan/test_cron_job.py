"""The CronJob of a source with a schedule."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.plan.known import named
from tests.operator.plan.moments import SCHEDULED, on_server

from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import RUN, scheduled_run


def _cron_job(*parts: dict[str, Any]) -> Manifest:
    return named(plan_collection(on_server(SCHEDULED, *parts)), "CronJob")


def test_it_reads_its_source_alone() -> None:
    plan = plan_collection(on_server(SCHEDULED))
    assert set(named(plan, "ConfigMap")["data"]) == {"ingestion.json", "ingestion-products.json"}
    pod = named(plan, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert "/etc/lookalike/ingestion-products.json" in pod["containers"][0]["args"]


def test_a_run_that_is_due_while_another_is_in_progress_is_left_out() -> None:
    assert _cron_job()["spec"]["concurrencyPolicy"] == "Forbid"


def test_times_are_utc_wherever_the_controller_runs() -> None:
    spec = _cron_job()["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 3 * * *", "Etc/UTC")


@pytest.mark.parametrize("suspended", [True, False])
def test_a_suspended_collection_starts_no_run(suspended: bool) -> None:
    assert _cron_job({"suspend": suspended})["spec"]["suspend"] is suspended


def test_its_jobs_are_found_by_the_label_of_their_run() -> None:
    cron_job = _cron_job()
    template = cron_job["spec"]["jobTemplate"]
    run = scheduled_run("products")
    labels = (cron_job["metadata"]["labels"], template["metadata"]["labels"])
    assert [each[RUN] for each in labels] == [run, run]
    assert template["spec"]["template"]["metadata"]["labels"][RUN] == run


def test_the_runs_of_two_sources_are_told_apart_however_long_their_names_are() -> None:
    long = "a" * 60
    one, other = scheduled_run(long + "-north"), scheduled_run(long + "-south")
    assert one != other
    assert max(len(one), len(other)) <= 63, "longer values of a label are refused"
