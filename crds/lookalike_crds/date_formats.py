"""How tables may write points in time: `strptime` formats that mean the same on every machine."""

from __future__ import annotations

import re
from datetime import UTC, datetime

EPOCH_UNITS = {"EpochSeconds": 1_000_000, "EpochMilliseconds": 1_000}
"""Microseconds of each: numbers counted from 1970-01-01T00:00Z."""
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_KNOWN = frozenset("dmbBYyHIpMSfzjaA%")
"""Those of `strptime` that do not depend on a machine's language, once it is set to English."""
_TIMES = frozenset("HIpMSfz")
_SAMPLE = datetime(2024, 11, 23, 13, 45, 56, 123456, tzinfo=UTC)


def checked_format(text: str) -> str:
    """The format itself. Raises ValueError, with what to write instead."""
    if text in EPOCH_UNITS:
        return text
    if "%" not in text:
        raise ValueError(
            f"{text!r} is no date format: write one like %d.%m.%Y or %Y-%m-%d %H:%M, or "
            f"{' or '.join(EPOCH_UNITS)}"
        )
    directives = _DIRECTIVE.findall(text)
    for each in directives:
        if each not in _KNOWN:
            known = " ".join(f"%{one}" for one in sorted(_KNOWN - {"%"}))
            raise ValueError(f"%{each} in {text!r} is not known: write of {known}")
    has = set(directives)
    month_and_day = (has & {"m", "b", "B"} and "d" in has) or "j" in has
    if not (has & {"Y", "y"} and month_and_day):
        raise ValueError(f"{text!r} does not tell a whole date: it needs %Y, %m and %d")
    if "I" in has and "p" not in has:
        raise ValueError(f"{text!r} has %I without %p: write %H for hours of 0 to 23")
    try:
        datetime.strptime(_SAMPLE.strftime(text), text)
    except (ValueError, re.error) as error:
        raise ValueError(f"{text!r} cannot be read: {error}") from None
    return text


def has_time(text: str) -> bool:
    """Whether a format tells more than the day."""
    return bool(_TIMES & set(_DIRECTIVE.findall(text)))
