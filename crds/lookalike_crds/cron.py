"""Cron expressions as a CronJob takes them: five fields, or one of the names such as @daily."""

from __future__ import annotations

import re

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
_PART = re.compile(r"(\*|\?|\w+)(?:-(\w+))?(?:/([0-9]+))?")


def checked(text: str) -> str:
    """The expression itself. Raises ValueError with what is wrong with it."""
    if text.startswith("@"):
        return text
    for (name, low, high, names), field in zip(_FIELDS, text.split(), strict=True):
        for part in field.split(","):
            if not _fits(part, low, high, names):
                raise ValueError(
                    f"{part!r} is no {name}: write numbers from {low} to {high}, *, ranges (1-5) "
                    "or steps (*/15)"
                )
    return text


def _fits(part: str, low: int, high: int, names: list[str]) -> bool:
    found = _PART.fullmatch(part)
    if found is None:
        return False
    first, last, step = found.groups()
    if step is not None and int(step) == 0:
        return False
    if first in ("*", "?"):
        return last is None
    begin, end = _number(first, low, names), _number(last or first, low, names)
    return begin is not None and end is not None and low <= begin <= end <= high


def _number(text: str, low: int, names: list[str]) -> int | None:
    if text.isascii() and text.isdecimal():
        return int(text)
    return names.index(text.lower()) + low if text.lower() in names else None
