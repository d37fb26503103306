"""Cron expressions as a CronJob takes them: five fields, or one of the names such as @daily."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

PATTERN = r"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[^\s@=]+(\s+[^\s@=]+){4})$"
"""What the API server's schema checks; the rest is checked in Python."""
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONGEST_DAYS = 8 * 366
"""Between two times of an expression that has any: 29 February comes after eight years at most."""
_PART = re.compile(r"(\*|\?|\w+)(?:-(\w+))?(?:/([0-9]+))?")


def checked(text: str) -> str:
    """The expression itself. Raises ValueError with what is wrong with it."""
    if text.startswith("@"):
        return text
    for (name, low, high, names), field in zip(_FIELDS, text.split(), strict=True):
        for part in field.split(","):
            if _range(part, low, high, names) is None:
                raise ValueError(
                    f"{part!r} is no {name}: write numbers from {low} to {high}, *, ranges (1-5) "
                    "or steps (*/15)"
                )
    return text


def last_time(text: str, now: datetime) -> datetime | None:
    """The last time of the expression that is not after `now`, in UTC; None if it has none.

    As a CronJob reads it: if both the day of the month and the day of the week are restricted, a
    day that either of them names is one.
    """
    now = now.astimezone(UTC)
    for times in _by_day(text, (_day(now, -days) for days in range(_LONGEST_DAYS))):
        for at in reversed(times):
            if at <= now:
                return at
    return None


def next_time(text: str, now: datetime) -> datetime | None:
    """The first time of the expression after `now`, in UTC; None if it has none."""
    now = now.astimezone(UTC)
    for times in _by_day(text, (_day(now, days) for days in range(_LONGEST_DAYS))):
        for at in times:
            if at > now:
                return at
    return None


class SetSince:
    """Since when schedules have been what they are, as far as one process has seen it.

    So that times before a schedule was set are not taken for ones that were missed. One that was
    there when the process began to look may be older than the process. One that comes back, as
    after a suspension, is as old as before.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, datetime | None]] | None = None

    def see(self, schedules: Mapping[str, str], now: datetime) -> Mapping[str, datetime]:
        """`schedules`: name -> expression. Returns name -> when it was first seen to be set."""
        first = self._seen is None
        seen = self._seen = self._seen or {}
        for name, text in schedules.items():
            if name not in seen or seen[name][0] != text:
                seen[name] = text, None if first else now
        known = {name: seen[name][1] for name in schedules}
        return {name: since for name, since in known.items() if since is not None}


def _by_day(text: str, asked: Iterable[datetime]) -> Iterator[list[datetime]]:
    """The times of each of these days that has any."""
    fields = _NAMED.get(text, text).split()
    minutes, hours, days, months, weekdays = (
        _values(field, low, high, names)
        for field, (_, low, high, names) in zip(fields, _FIELDS, strict=True)
    )
    any_day, any_weekday = (fields[at][0] in "*?" for at in (2, 4))
    for day in asked:
        by_month, by_week = day.day in days, day.isoweekday() % 7 in weekdays
        is_one = by_month and by_week if any_day or any_weekday else by_month or by_week
        if day.month in months and is_one:
            yield [day.replace(hour=h, minute=m) for h in sorted(hours) for m in sorted(minutes)]


def _day(now: datetime, later: int) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=later)


def _values(field: str, low: int, high: int, names: list[str]) -> set[int]:
    """Raises ValueError if a part is none of these."""
    found: set[int] = set()
    for part in field.split(","):
        values = _range(part, low, high, names)
        if values is None:
            raise ValueError(f"{part!r} is no part of a cron expression")
        found.update(values)
    return found


def _range(part: str, low: int, high: int, names: list[str]) -> range | None:
    """The values that a part of a field names, from `low` to `high`; None if it is none."""
    found = _PART.fullmatch(part)
    if found is None:
        return None
    first, last, step = found.groups()
    begin: int | None
    end: int | None
    if first in ("*", "?"):
        begin, end = (low, high) if last is None else (None, None)
    else:
        begin = _number(first, low, names)
        end = _number(last, low, names) if last else (high if step else begin)
    stride = int(step) if step else 1
    if begin is None or end is None or not low <= begin <= end <= high or stride == 0:
        return None
    return range(begin, end + 1, stride)


def _number(text: str, low: int, names: list[str]) -> int | None:
    if text.isascii() and text.isdecimal():
        return int(text)
    return names.index(text.lower()) + low if text.lower() in names else None
