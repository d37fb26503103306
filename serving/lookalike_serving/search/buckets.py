"""Where the buckets of a histogram begin and end: round numbers, and the calendar's intervals.

Buckets are multiples of their width, so that they stay where they are while documents come and go.
Bounds are a list, in order; each bucket runs from one up to the next, which it does not hold. A
last bound None is open: beyond it no number, or no year, can be written.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from lookalike_serving.search.facet_request import DateInterval

Number = int | float


class TooMany(Exception):
    """A width would make more buckets than are allowed."""


class Numbers(NamedTuple):
    bounds: list[Number | None]
    width: Number


class Dates(NamedTuple):
    bounds: list[datetime | None]
    width: str


def of_numbers(
    low: Number, high: Number, most: int, width: Number | None, *, whole: bool
) -> Numbers:
    """Buckets that hold all from `low` to `high`: at most `most`, which is 2 or more, since no
    bucket holds numbers on both sides of 0. `whole`: of whole numbers.

    Raises TooMany if `width` is given and too small.
    """
    first, last = _exact(low), _exact(high)
    if width is not None:
        step = _exact(width)
        whole = whole and step == step.to_integral_value()
        if not _fits(first, last, step, most):
            raise TooMany
    else:
        step = next(
            s for s in _round_steps((last - first) / most, whole) if _fits(first, last, s, most)
        )
    start = _floor(first, step)
    count = int(_floor(last, step) - start) + 1
    bounds: list[Number | None] = []
    for place in range(count + 1):
        bound = _number((start + place) * step, whole)
        # Wide apart as decimals, two bounds can still be one float.
        if bound is not None and (not bounds or bound != bounds[-1]):
            bounds.append(bound)
    if bounds[-1] is None or bounds[-1] <= high or len(bounds) == 1:
        bounds.append(None)
    return Numbers(bounds, _number(step, whole) or float(step))


def _exact(number: Number) -> Decimal:
    # As it is written: .1 is a tenth here, not the float beside it.
    return Decimal(repr(number))


def _floor(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(rounding="ROUND_FLOOR")


def _fits(first: Decimal, last: Decimal, step: Decimal, most: int) -> bool:
    return _floor(last, step) - _floor(first, step) < most


def _round_steps(least: Decimal, whole: bool) -> Iterator[Decimal]:
    """1, 2, 5, 10, … times a power of ten, from just below `least` on."""
    exponent = least.adjusted() if least else 0
    while True:
        for digit in (1, 2, 5):
            step = Decimal(digit).scaleb(exponent)
            if step >= least and (step >= 1 or not whole):
                yield step
        exponent += 1


def _number(value: Decimal, whole: bool) -> Number | None:
    """None beyond the largest float; below the smallest that one."""
    if whole:
        # Ranges compare with 64-bit floats: beyond 2^53 a bound is rounded down to one.
        number = int(value)
        near = float(number)
        return int(near if near <= number else math.nextafter(near, -math.inf))
    rounded = float(value)
    if math.isinf(rounded):
        return None if rounded > 0 else -sys.float_info.max
    return rounded


def of_dates(low: datetime, high: datetime, most: int, interval: DateInterval | None) -> Dates:
    """Calendar intervals, in UTC, that hold all from `low` to `high`: at most `most`.

    Raises TooMany if `interval` is given and too short.
    """
    if interval is not None:
        return _dates(low, high, most, interval, 1)
    for unit, years in _CALENDAR:
        try:
            return _dates(low, high, most, unit, years)
        except TooMany:
            continue
    return Dates([datetime(1, 1, 1, tzinfo=UTC), None], "10000 years")


_CALENDAR = [
    *((each, 1) for each in DateInterval),
    *((DateInterval.YEAR, years) for years in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)),
]


def _dates(low: datetime, high: datetime, most: int, unit: DateInterval, years: int) -> Dates:
    bounds: list[datetime | None] = []
    bound: datetime | None = _begin(low, unit, years)
    while bound is not None and bound <= high:
        if len(bounds) == most:
            raise TooMany
        bounds.append(bound)
        bound = _next(bound, unit, years)
    bounds.append(bound)
    return Dates(bounds, unit.value if years == 1 else f"{years} years")


def _begin(moment: datetime, unit: DateInterval, years: int) -> datetime:
    """The beginning of the interval that a moment lies in."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    match unit:
        case DateInterval.HOUR:
            return hour
        case DateInterval.DAY:
            return day
        case DateInterval.WEEK:
            # 0001-01-01 was a Monday.
            return day - timedelta(days=day.weekday())
        case DateInterval.MONTH:
            return day.replace(day=1)
        case DateInterval.QUARTER:
            return day.replace(day=1, month=day.month - (day.month - 1) % 3)
        case DateInterval.YEAR:
            return day.replace(day=1, month=1, year=max(1, day.year - day.year % years))


def _next(begin: datetime, unit: DateInterval, years: int) -> datetime | None:
    """The beginning of the interval that follows; None after year 9999."""
    try:
        match unit:
            case DateInterval.HOUR:
                return begin + timedelta(hours=1)
            case DateInterval.DAY:
                return begin + timedelta(days=1)
            case DateInterval.WEEK:
                return begin + timedelta(days=7)
            case DateInterval.MONTH:
                return _months_on(begin, 1)
            case DateInterval.QUARTER:
                return _months_on(begin, 3)
            case DateInterval.YEAR:
                return begin.replace(year=begin.year - begin.year % years + years)
    except (OverflowError, ValueError):
        return None


def _months_on(begin: datetime, months: int) -> datetime:
    year, month = divmod(begin.month - 1 + months, 12)
    return begin.replace(year=begin.year + year, month=month + 1)
