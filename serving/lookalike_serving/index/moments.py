"""Points in time as people write them, parsed in one place for documents and for filters.

RFC 3339 and similar forms are accepted: a date; a date and a time to the minute, the second, or six
digits of a second; `T` or a space between them; a zone as `Z`, `+01`, `+0100` or `+01:00`, and UTC
without one. Engines parse fewer forms and silently drop others, so a form that they would not parse
is rewritten before it is stored.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from lookalike_crds.moments import utc_text

EXAMPLE = "2026-05-01T12:00:00Z"
FORMS = (
    f"write one like {EXAMPLE}: years 1 to 9999, at most 6 digits of a second, zone Z or +01:00, "
    "or the date alone"
)

_READ = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6})0*)?)?"
    r"(?:([Zz])|([+-])([0-9]{2})(?::?([0-9]{2}))?)?)?"
)
_AS_ENGINES_READ = re.compile(
    r"[0-9-]{10}(?:[T ][0-9:]{8}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


def moment(text: str) -> datetime:
    """The point in time, in UTC. Raises ValueError."""
    found = _READ.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, _, sign, ahead, ahead_minutes = found.groups()
    offset = timedelta(hours=int(ahead or 0), minutes=int(ahead_minutes or 0))
    if int(ahead_minutes or 0) > 59:
        raise ValueError(text)
    local = datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int((fraction or "").ljust(6, "0")),
        tzinfo=timezone(-offset if sign == "-" else offset),
    )
    try:
        return local.astimezone(UTC)
    except OverflowError:
        raise ValueError(text) from None


def is_moment(text: str) -> bool:
    try:
        moment(text)
    except ValueError:
        return False
    return True


def stored_form(text: str) -> str:
    """The text itself where every engine reads it, else the same moment in UTC.

    Raises ValueError for what is no moment.
    """
    read = moment(text)
    if _AS_ENGINES_READ.fullmatch(text):
        return text
    return utc_text(read)
