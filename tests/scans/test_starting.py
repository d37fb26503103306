"""When a schedule begins a scan, and what it asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.configs import collection

from lookalike_crds.config import CollectionConfig
from lookalike_crds.image_collection import DuplicatesSpec
from lookalike_serving.duplicates.verdicts import Sensitivity, Verdict
from lookalike_serving.scans.record import (
    Control,
    FieldOrder,
    Keep,
    Order,
    Progress,
    Rule,
    Scan,
    ScanState,
    decode_order,
    encode,
)
from lookalike_serving.scans.starting import due

NOW = datetime(2026, 3, 4, 3, 20, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=40)


def config(**duplicates: Any) -> CollectionConfig:
    spec = DuplicatesSpec.model_validate(duplicates) if duplicates else None
    return collection(Path("/data"), "photos").model_copy(update={"duplicates": spec})


def scan(state: ScanState, planned_for: datetime | None) -> Scan:
    order = Order("0" * 32, "photos", NOW, planned_for=planned_for)
    return Scan(order, Control(), Progress(state=state))


def test_a_scan_is_due_once_for_each_time_of_its_schedule() -> None:
    nightly = config(schedule="0 3 * * *", sensitivity="Strict")
    order = due(nightly, [], LONG_AGO, NOW)
    assert order is not None
    assert (order.planned_for, order.sensitivity) == (NOW.replace(minute=0), Sensitivity.STRICT)
    assert order.delete == ()
    again = due(nightly, [], LONG_AGO, NOW + timedelta(minutes=5))
    assert again is not None
    assert again.id == order.id  # two replicas write the same record
    assert decode_order(encode(order)) == order
    assert due(nightly, [scan(ScanState.COMPLETED, order.planned_for)], LONG_AGO, NOW) is None
    assert due(nightly, [scan(ScanState.RUNNING, None)], LONG_AGO, NOW) is None
    asked_for = scan(ScanState.COMPLETED, None)
    assert due(nightly, [asked_for], LONG_AGO, NOW) == order


@pytest.mark.parametrize(
    ("spec", "since", "now"),
    [
        ({}, LONG_AGO, NOW),
        ({"sensitivity": "Strict"}, LONG_AGO, NOW),
        # Not what lies before the process: it does not know what was then.
        ({"schedule": "0 3 * * *"}, NOW - timedelta(minutes=10), NOW),
        # Nor what was missed long ago.
        ({"schedule": "0 3 * * *"}, LONG_AGO, NOW + timedelta(hours=2)),
    ],
)
def test_nothing_is_due(spec: dict[str, Any], since: datetime, now: datetime) -> None:
    assert due(config(**spec), [], since, now) is None


def test_a_schedule_begins_with_its_next_time_after_it_was_set() -> None:
    hourly = config(schedule="0 * * * *")
    before = scan(ScanState.COMPLETED, NOW - timedelta(days=1))
    set_at = NOW - timedelta(seconds=1)
    assert due(hourly, [before], LONG_AGO, NOW, set_at) is None
    assert due(hourly, [before], LONG_AGO, NOW + timedelta(hours=1), set_at) is not None
    assert due(hourly, [before], LONG_AGO, NOW, NOW - timedelta(hours=1)) is not None


def test_what_the_spec_says_is_what_the_scan_is_asked_for() -> None:
    order = due(
        config(
            schedule="@hourly",
            sensitivity="Strict",
            action="Delete",
            verdicts=["Exact", "Copy"],
            keep={"rule": "Field", "field": "stars", "order": "Lowest"},
        ),
        [],
        LONG_AGO,
        NOW,
    )
    assert order is not None
    assert order.delete == (Verdict.EXACT, Verdict.COPY)
    assert order.keep == Keep(Rule.FIELD, "stars", FieldOrder.LOWEST)
    report = due(config(schedule="@hourly", verdicts=["Exact"]), [], LONG_AGO, NOW)
    assert report is not None
    assert replace(report, delete=()) == report
