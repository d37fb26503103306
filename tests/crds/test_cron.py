"""The last time of a cron expression, as a CronJob reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lookalike_crds.cron import SetSince, last_time, next_time

WEDNESDAY = datetime(2026, 3, 4, 3, 20, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "last"),
    [
        ("20 3 * * *", "2026-03-04 03:20"),
        ("21 3 * * *", "2026-03-03 03:21"),
        ("*/15 * * * *", "2026-03-04 03:15"),
        ("5/10 0-2,6 * * *", "2026-03-04 02:55"),
        ("0 12 * * mon-fri", "2026-03-03 12:00"),
        ("0 12 * * sun", "2026-03-01 12:00"),
        ("0 0 1 jan,DEC *", "2026-01-01 00:00"),
        # One of the two days is enough if both are given, as a CronJob has it.
        ("0 0 3 * 1", "2026-03-03 00:00"),
        ("0 0 31 * 1", "2026-03-02 00:00"),
        ("0 0 29 2 *", "2024-02-29 00:00"),
        ("@daily", "2026-03-04 00:00"),
        ("@hourly", "2026-03-04 03:00"),
        ("@weekly", "2026-03-01 00:00"),
        ("@yearly", "2026-01-01 00:00"),
        ("0 0 30 2 *", None),
    ],
)
def test_the_last_time(schedule: str, last: str | None) -> None:
    found = last_time(schedule, WEDNESDAY)
    assert (None if found is None else f"{found:%Y-%m-%d %H:%M}") == last


@pytest.mark.parametrize(
    ("schedule", "next_"),
    [
        ("0 3 * * *", "2026-03-05 03:00"),
        ("*/15 * * * *", "2026-03-04 03:30"),
        ("0 12 * * sun", "2026-03-08 12:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("0 0 30 2 *", None),
    ],
)
def test_the_next_time_is_later_than_now_and_the_last_one_once_it_has_come(
    schedule: str, next_: str | None
) -> None:
    found = next_time(schedule, WEDNESDAY)
    assert (None if found is None else f"{found:%Y-%m-%d %H:%M}") == next_
    if found is not None:
        assert last_time(schedule, found) == found


def test_it_is_known_since_when_a_schedule_has_been_set() -> None:
    since, later = SetSince(), WEDNESDAY + timedelta(minutes=5)
    assert since.see({"old": "@daily"}, WEDNESDAY) == {}, "it may be older than the process"
    assert since.see({"old": "@daily", "new": "@daily"}, later) == {"new": later}
    assert since.see({"new": "@daily"}, later + timedelta(hours=1)) == {"new": later}
    assert since.see({"old": "@daily"}, later) == {}, "it was suspended for a while"
    assert since.see({"old": "@hourly"}, later) == {"old": later}
