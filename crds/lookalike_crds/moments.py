"""Points in time as text, in one form everywhere: RFC 3339 in UTC, with `Z` as its zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

Precision = Literal["auto", "seconds", "milliseconds", "microseconds"]
"""How much of a second is written; auto: microseconds if there are any."""


def utc_text(moment: datetime, precision: Precision = "auto") -> str:
    """`2026-05-01T12:00:00Z`. `moment` has a zone."""
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def now_text(precision: Precision = "seconds") -> str:
    """The present moment."""
    return utc_text(datetime.now(UTC), precision)
