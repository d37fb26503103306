"""Points in time are written in one form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from lookalike_crds.moments import Precision, now_text, utc_text

MOMENT = datetime(2026, 5, 1, 12, 0, 0, 250_000, UTC)


@pytest.mark.parametrize(
    ("precision", "text"),
    [
        ("auto", "2026-05-01T12:00:00.250000Z"),
        ("seconds", "2026-05-01T12:00:00Z"),
        ("milliseconds", "2026-05-01T12:00:00.250Z"),
        ("microseconds", "2026-05-01T12:00:00.250000Z"),
    ],
)
def test_a_moment_is_written_in_utc_whatever_its_zone(precision: Precision, text: str) -> None:
    assert utc_text(MOMENT, precision) == text
    assert utc_text(MOMENT.astimezone(timezone(timedelta(hours=-3))), precision) == text


def test_the_present_is_written_to_the_second() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    assert before <= datetime.fromisoformat(now_text()) <= datetime.now(UTC)
